"""The dashboard as an ASGI application: addresses, and the pages behind them as HTML and as JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Literal

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from milepost.errors import MilepostError
from milepost.report.html import STATIC, load_templates
from milepost.report.json_text import json_text
from milepost.report.vega import vega_script
from milepost.text.language import Phrase, best_match, language, speaking
from milepost.web.bodies import Body
from milepost.web.errors import error_response, wanted_language
from milepost.web.kept import Kept
from milepost.web.live import Events, LiveFolders, Moment
from milepost.web.openapi import openapi
from milepost.web.page import Page, PageKind
from milepost.web.pages import PAGES
from milepost.web.preparation import Preparation
from milepost.web.progress import progress_data
from milepost.web.query import BadQuery, Query
from milepost.web.rendering import Place, page_html, progress_html
from milepost.web.safety import LOCAL, Guard, Rules

logger = logging.getLogger("milepost.web")

MOST_PAGES = 24
"""Pages that are kept as values: what is around them may change while they do not."""
MOST_BYTES = 32_000_000
"""Bytes of finished answers that are kept."""
PAGES_AT_ONCE = 2
"""Pages that are made at the same time: more would only wait for each other, and the events for them."""
LIBRARIES = ("pyarrow.parquet", "scipy.special")
"""Imports of the first pages, and half of their time where a reader had to wait for them."""

MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""Media types of the files that pages link to."""

VEGA = "vega.js"

Form = Literal["html", "json"]


def make_app(*results: Path, rules: Rules = LOCAL, baselines: Path | None = None) -> Starlette:
    """Return the dashboard of results folders, whose series are shown side by side.

    Args:
        results: at least one.
        rules: who may ask; by default programs of this machine.
        baselines: a YAML file of published scores, shown beside the results.

    Raises:
        ResultsError: one is no results folder, or of a newer version.
    """
    return Dashboard(results, baselines).app(rules)


class Dashboard:
    """Answers requests about one or several results folders."""

    def __init__(self, results: Sequence[Path], baselines: Path | None) -> None:
        self._folders = LiveFolders(results, baselines)
        # What every page needs is ready before the first is asked for.
        self._folders.now().view.index.metrics(())
        load_templates()
        for library in LIBRARIES:
            import_module(library)
        self._pages: Kept[Page] = Kept(MOST_PAGES)
        self._bodies: Kept[Body] = Kept(MOST_BYTES, lambda body: len(body.content))
        self._limit: CapacityLimiter | None = None
        self._preparation = Preparation(self._folders)
        self._events = Events(self._folders, _progress_html)
        self._results = ", ".join(map(str, results))
        self._files = {path.name: path for path in STATIC.iterdir() if path.suffix in MEDIA_TYPES}

    def app(self, rules: Rules) -> Starlette:
        """Return the application."""
        routes = [Route("/", partial(self._page, kind=PAGES[0]))]
        for kind in PAGES:
            routes.append(Route(f"/{kind.name}", partial(self._page, kind=kind)))
            routes.append(Route(f"/{kind.name}.json", partial(self._page, kind=kind, form="json")))
        routes += [
            Route("/progress.json", self._progress),
            Route("/openapi.json", self._openapi),
            Route("/events", self._stream),
            Route("/static/{name}", self._file),
        ]
        app = Starlette(
            routes=routes,
            middleware=[Middleware(Guard, rules=rules)],
            exception_handlers={
                HTTPException: _http_error,
                MilepostError: _milepost_error,
                Exception: _bug,
            },
        )
        app.state.end = self._events.end
        app.state.prepare = self._preparation.start
        return app

    async def _page(self, request: Request, *, kind: PageKind, form: Form | None = None) -> Response:
        query = _query(request, kind)
        if form is None:
            form = "json" if "application/json" in request.headers.get("accept", "") else "html"
        wanted = wanted_language(request)
        with self._preparation.reader():
            body = await self._in_thread(lambda: self.made(kind, form, query, wanted))
        return body.response(request.headers)

    def made(self, kind: PageKind, form: Form, query: Query, wanted: str) -> Body:
        """Return a page, made now unless it is kept.

        Args:
            wanted: the language, or languages, that the reader wants.
        """
        with speaking(wanted):
            moment = self._folders.now()
            asked = kind.name, language(), query.key
            of_page = (moment.shards if kind.is_live else moment.records, *asked)
            page = self._pages.get(of_page, lambda: kind.make(moment.view, query))
            # The frame shows the progress, whatever the page does.
            of_body = (form, moment.shards, *asked) if form == "html" else (form, *of_page)
            return self._bodies.get(of_body, lambda: self._body(kind, form, query, moment, page))

    def _body(self, kind: PageKind, form: Form, query: Query, moment: Moment, page: Page) -> Body:
        if form == "json":
            return _json(page.data)
        place = Place(
            results=self._results,
            kind=kind,
            menu=PAGES,
            query=query,
            records=moment.records,
            progress=moment.view.progress,
        )
        return Body(page_html(page, place).encode("utf-8", "backslashreplace"), "text/html")

    async def _progress(self, request: Request) -> Response:
        body = await self._in_thread(lambda: _json(progress_data(self._folders.now().view.progress)))
        return body.response(request.headers)

    async def _openapi(self, request: Request) -> Response:
        return _json(openapi(PAGES)).response(request.headers)

    async def _stream(self, request: Request) -> Response:
        stream = self._events.stream(best_match(wanted_language(request)))
        return StreamingResponse(
            stream, media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files and name != VEGA:
            raise HTTPException(404)
        body = await run_sync(lambda: self._bodies.get(name, lambda: self._read(name)))
        return body.response(request.headers)

    def _read(self, name: str) -> Body:
        if name == VEGA:
            return Body(vega_script().encode(), "text/javascript")
        return Body(self._files[name].read_bytes(), MEDIA_TYPES[self._files[name].suffix])

    async def _in_thread(self, make: Callable[[], Body]) -> Body:
        if self._limit is None:
            self._limit = CapacityLimiter(PAGES_AT_ONCE)
        return await run_sync(make, limiter=self._limit)


def _progress_html(moment: Moment, wanted: str) -> str:
    with speaking(wanted):
        return progress_html(moment.view.progress)


def _json(data: object) -> Body:
    return Body(json_text(data).encode(), "application/json")


def _query(request: Request, kind: PageKind) -> Query:
    """Return the parameters that the page knows: others make no other page."""
    known = {"lang", *(parameter.name for parameter in kind.parameters)}
    given: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if name in known:
            given.setdefault(name, []).append(value)
    return Query(given)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    missing = error.status_code == 404
    return error_response(
        request, error.status_code, Phrase("there is no such page") if missing else error.detail
    )


def _milepost_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, MilepostError)
    status = 400 if isinstance(error, BadQuery) else 404
    return error_response(request, status, error)


def _bug(request: Request, error: Exception) -> Response:
    return error_response(request, 500, Phrase("this is a bug of Milepost; the server's terminal says more"))
