"""Errors as every address of the dashboard gives them: as JSON, or as a page where a browser asks for one."""

from __future__ import annotations

import json
from html import escape

from starlette.datastructures import Headers
from starlette.responses import Response

from milepost.safe_text import printable


def error_response(status: int, message: str, hint: str | None = None, *, headers: Headers) -> Response:
    """Return an error in the form that the request asks for.

    Args:
        headers: of the request.
    """
    if not wants_html(headers):
        found = {"error": {"status": status, "message": message, "hint": hint}}
        return Response(json.dumps(found, ensure_ascii=True), status, media_type="application/json")
    text = "".join(f"<p>{escape(printable(line))}</p>" for line in (message, hint) if line)
    page = (
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{status}</title>'
        f'<link rel="stylesheet" href="/static/style.css"><main><h1>{status}</h1>{text}</main></html>'
    )
    return Response(page, status, media_type="text/html")


def wants_html(headers: Headers) -> bool:
    """Return whether a request comes from a browser that shows pages; programs get JSON."""
    return "text/html" in headers.get("accept", "")
