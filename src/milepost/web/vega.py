"""The script that draws charts, from vl-convert: made once per version and kept in the cache folder."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

from milepost.cache import cache_folder, write_cache_file
from milepost.report.html import vegalite_version

_BUNDLE = """
import sys, vl_convert
script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=sys.argv[1])
sys.stdout.buffer.write(script.encode())
"""


def vega_script() -> bytes:
    """Return Vega, Vega-Lite and vega-embed as one script of 0.9 MB.

    It is bundled by a process of its own, whose JavaScript engine takes three seconds and 200 MB.

    Raises:
        CalledProcessError: vl-convert cannot make it.
    """
    vegalite = vegalite_version()
    kept = cache_folder() / "vega" / f"{version('vl-convert-python')}-{vegalite}.js"
    try:
        return kept.read_bytes()
    except OSError:
        script = subprocess.run(
            [sys.executable, "-c", _BUNDLE, vegalite], capture_output=True, check=True
        ).stdout
        write_cache_file(kept, script)
        return script
