"""Errors as every address of the dashboard gives them: as JSON, or as a page where a browser asks for one."""

from __future__ import annotations

import json

from starlette.requests import HTTPConnection
from starlette.responses import Response

from milepost.errors import MilepostError
from milepost.report.html import Frame, page
from milepost.text.language import ENGLISH, language, speaking
from milepost.text.safe_text import printable
from milepost.web.pages import PAGES
from milepost.web.rendering import page_links


def error_response(request: HTTPConnection, status: int, error: MilepostError | str) -> Response:
    """Return an error in the form and the language that the request asks for; JSON is English."""
    if not isinstance(error, MilepostError):
        error = MilepostError(error)
    if "text/html" not in request.headers.get("accept", ""):
        found = {"error": {"status": status, "message": error.message, "hint": error.hint}}
        return Response(json.dumps(found), status, media_type="application/json")
    with speaking(wanted_language(request)):
        lines = [printable(line) for line in error.for_reader() if line]
        frame = Frame(
            served=True,
            lang=language().replace("_", "-"),
            pages=page_links(PAGES, lang=request.query_params.get("lang", "")),
        )
        return Response(page(str(status), lines, frame), status, media_type="text/html")


def wanted_language(request: HTTPConnection) -> str:
    """Return the language in the address, else the header that lists those of the browser."""
    return request.query_params.get("lang") or request.headers.get("accept-language") or ENGLISH
