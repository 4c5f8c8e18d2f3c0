"""The dashboard as an ASGI application: addresses, and the pages behind them as HTML and as JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from importlib import resources
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
from milepost.report.json_text import json_text
from milepost.web.bodies import Body, BodyCache
from milepost.web.errors import error_response
from milepost.web.live import Events, LiveFolder, Moment
from milepost.web.openapi import openapi
from milepost.web.page import PageKind
from milepost.web.pages import PAGES
from milepost.web.progress import progress_data
from milepost.web.query import BadQuery, Query
from milepost.web.rendering import page_html, progress_html
from milepost.web.safety import LOCAL, Guard, Rules
from milepost.web.vega import vega_script

logger = logging.getLogger("milepost.web")

MOST_CACHED = 48_000_000
"""Bytes of finished pages that are kept."""
PAGES_AT_ONCE = 2
"""Pages that are made at the same time: more would only wait for each other, and the events for them."""

STATIC = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""Media types of the files of `static/`."""

Form = Literal["html", "json"]


def make_app(results: Path, *, rules: Rules = LOCAL, baselines: Path | None = None) -> Starlette:
    """Return the dashboard of a results folder.

    Args:
        rules: who may ask; by default programs of this machine.
        baselines: a YAML file of published scores, shown beside the results.

    Raises:
        ResultsError: it is no results folder, or of a newer version.
    """
    return Dashboard(results, baselines).app(rules)


class Dashboard:
    """Answers requests about one results folder."""

    def __init__(self, results: Path, baselines: Path | None) -> None:
        self._folder = LiveFolder(results, baselines)
        self._bodies = BodyCache(MOST_CACHED)
        self._limit: CapacityLimiter | None = None
        self._events = Events(self._folder, lambda moment, language: progress_html(moment.view.progress))
        self._static = {
            path.name: path for path in resources.files("milepost.web").joinpath("static").iterdir()
        }

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
        return app

    async def _page(self, request: Request, *, kind: PageKind, form: Form | None = None) -> Response:
        query = _query(request)
        if form is None:
            form = "json" if "application/json" in request.headers.get("accept", "") else "html"
        body = await self._in_thread(lambda: self._made(kind, form, query))
        return body.response(request.headers)

    def _made(self, kind: PageKind, form: Form, query: Query) -> Body:
        moment = self._folder.now()
        number = moment.shards if kind.is_live or form == "html" else moment.records
        key = kind.name, form, number, tuple((name, tuple(values)) for name, values in query.given.items())
        return self._bodies.get(key, lambda: _make(kind, form, query, moment))

    async def _progress(self, request: Request) -> Response:
        body = await self._in_thread(lambda: _json(progress_data(self._folder.now().view.progress)))
        return body.response(request.headers)

    async def _openapi(self, request: Request) -> Response:
        return _json(openapi(PAGES)).response(request.headers)

    async def _stream(self, request: Request) -> Response:
        return StreamingResponse(
            self._events.stream("en"), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name == "vega.js":
            script = await run_sync(
                lambda: self._bodies.get(name, lambda: Body(vega_script(), "text/javascript"))
            )
            return script.response(request.headers)
        if name not in self._static:
            raise HTTPException(404)
        path = self._static[name]
        media_type = STATIC[Path(name).suffix]
        return Body(path.read_bytes(), media_type).response(request.headers)

    async def _in_thread(self, make: Callable[[], Body]) -> Body:
        if self._limit is None:
            self._limit = CapacityLimiter(PAGES_AT_ONCE)
        return await run_sync(make, limiter=self._limit)


def _make(kind: PageKind, form: Form, query: Query, moment: Moment) -> Body:
    page = kind.make(moment.view, query)
    if form == "json":
        return _json(page.data)
    html = page_html(page, kind, PAGES, query, progress=moment.view.progress, records=moment.records)
    return Body(html.encode("utf-8", "backslashreplace"), "text/html")


def _json(data: object) -> Body:
    return Body(json_text(data).encode(), "application/json")


def _query(request: Request) -> Query:
    given: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if name != "token":
            given.setdefault(name, []).append(value)
    return Query(given)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = "there is no such page" if error.status_code == 404 else error.detail
    return error_response(error.status_code, message, headers=request.headers)


def _milepost_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, MilepostError)
    status = 400 if isinstance(error, BadQuery) else 404
    return error_response(status, error.message, error.hint, headers=request.headers)


def _bug(request: Request, error: Exception) -> Response:
    return error_response(
        500, "this is a bug of Milepost; the terminal of the server has it", headers=request.headers
    )
