"""The script that draws charts in a page: Vega, Vega-Lite and vega-embed as vl-convert brings them."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from importlib.metadata import version

from milepost.files.cache import cache_folder, write_cache_file

_BUNDLE = """
import sys, vl_convert
script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=sys.argv[1])
sys.stdout.buffer.write(script.encode())
"""


@cache
def vega_script() -> str:
    """Return the script, 0.9 MB, which sets `vegaEmbed`; the cache keeps it.

    It is bundled by a process of its own, whose JavaScript engine takes three seconds and 200 MB.

    Raises:
        CalledProcessError: vl-convert cannot make it.
    """
    kept = cache_folder() / "vega" / f"{version('vl-convert-python')}-altair-{version('altair')}.js"
    try:
        return kept.read_text("utf-8")
    except OSError:
        command = [sys.executable, "-c", _BUNDLE, vegalite_version()]
        made = subprocess.run(command, capture_output=True, check=True)
        write_cache_file(kept, made.stdout)
        return made.stdout.decode()


@cache
def vegalite_version() -> str:
    """Return the Vega-Lite version of altair, as vl-convert names it: `v6.4.1` is `6.4`."""
    from altair import SCHEMA_VERSION

    return ".".join(SCHEMA_VERSION.lstrip("v").split(".")[:2])
