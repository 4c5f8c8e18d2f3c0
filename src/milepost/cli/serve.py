"""`milepost serve`: results folders as pages in a browser, live while a run is going."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from milepost.cli.output import say, say_json, tell
from milepost.cli.selection import several_results_argument
from milepost.text.language import _


@click.command("serve")
@several_results_argument
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Where to listen; beyond this machine every reader needs the token in the printed address.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Default: 8730; 0 for the next free one from there."
)
@click.option(
    "--baselines",
    type=click.Path(path_type=Path),
    metavar="FILE.yaml",
    help="Published scores of models, shown beside the results.",
)
@click.option("--open/--no-open", "opens", default=None, help="Open a browser; default: where there is one.")
@click.option("--json", "as_json", is_flag=True, help="Print the address as JSON.")
def command(
    results: tuple[Path, ...],
    host: str,
    port: int | None,
    baselines: Path | None,
    opens: bool | None,
    as_json: bool,
) -> None:
    """Show RESULTS as pages in a browser, live while a run is going; Ctrl-C ends it.

    \b
    milepost serve results
    milepost serve original pruned                                     # side by side
    ssh -L 8730:127.0.0.1:8730 cluster milepost serve runs/results     # from elsewhere

    Nothing can be changed through the pages, and nothing is fetched from the internet. Each page has the same
    as JSON at its address with `.json`; docs/web.md describes it.
    """
    # Pages multiply small matrices, beside a run that needs the cores: before numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from milepost.web.serving import DEFAULT_PORT, Address, serve

    def ready(address: Address) -> None:
        if as_json:
            say_json(
                {
                    "url": address.url,
                    "host": address.host,
                    "port": address.port,
                    "results": [str(folder) for folder in results],
                }
            )
        else:
            say(_("{results} at {address}", results=", ".join(map(str, results)), address=address.url))
            tell(_("Ctrl-C ends it"))
        sys.stdout.flush()
        if _opens_a_browser() if opens is None else opens:
            import webbrowser

            webbrowser.open(address.url)

    serve(results, host=host, port=DEFAULT_PORT if port is None else port, baselines=baselines, ready=ready)


def _opens_a_browser() -> bool:
    """Return whether a person sits at this machine's own screen."""
    if not sys.stdout.isatty() or os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
