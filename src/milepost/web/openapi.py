"""Describe the JSON twins of all pages as an OpenAPI document, from their parameters and types."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from milepost.version import __version__
from milepost.web.page import PageKind, Parameter
from milepost.web.progress import ProgressData

PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def openapi(pages: Sequence[PageKind]) -> dict[str, Any]:
    """Return the OpenAPI document of the pages."""
    schemas: dict[str, Any] = {
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {
                    "type": "object",
                    "required": ["status", "message", "hint"],
                    "properties": {
                        "status": {"type": "integer"},
                        "message": {"type": "string"},
                        "hint": {"type": ["string", "null"]},
                    },
                }
            },
        }
    }
    paths = {
        f"/{page.name}.json": _path(page.about, schema_of(page.data, schemas), page.parameters)
        for page in pages
    }
    paths["/progress.json"] = _path("How far the newest runs are.", schema_of(ProgressData, schemas), ())
    return {
        "openapi": "3.1.0",
        "info": {"title": "Milepost dashboard", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def schema_of(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of a type.

    Args:
        schemas: gets those of `TypedDict` classes, which the schema refers to.
    """
    if kind is Any:
        return {}
    if kind in PLAIN:
        return {"type": PLAIN[kind]}
    if is_typeddict(kind):
        if kind.__name__ not in schemas:
            schemas[kind.__name__] = {}  # for types that hold themselves
            fields = get_type_hints(kind)
            schemas[kind.__name__] = {
                "type": "object",
                "description": (kind.__doc__ or "").strip(),
                "required": sorted(kind.__required_keys__),
                "properties": {name: schema_of(field, schemas) for name, field in fields.items()},
                "additionalProperties": False,
            }
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(each, schemas) for each in inner]}
    if origin in (list, Sequence):
        return {"type": "array", "items": schema_of(inner[0], schemas)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": schema_of(inner[1], schemas)}
    raise TypeError(f"no JSON schema for {kind}")


def _path(about: str, schema: dict[str, Any], parameters: Sequence[Parameter]) -> dict[str, Any]:
    def answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"description": description, "content": {"application/json": {"schema": schema}}}

    error = {"$ref": "#/components/schemas/Error"}
    return {
        "get": {
            "summary": about,
            "parameters": [_parameter(each) for each in parameters],
            "responses": {
                "200": answer("The data of the page.", schema),
                "400": answer("A parameter cannot be understood.", error),
                "401": answer("A token is needed.", error),
                "403": answer("The request comes from elsewhere.", error),
                "404": answer("The results have nothing of that name.", error),
            },
        }
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": parameter.kind}
    schema |= {"pattern": parameter.pattern} if parameter.pattern else {}
    schema |= {"minimum": parameter.lowest} if parameter.lowest is not None else {}
    schema |= {"maximum": parameter.highest} if parameter.highest is not None else {}
    if parameter.values:
        schema["enum"] = list(parameter.values)
    if parameter.repeats:
        schema = {"type": "array", "items": schema}
    return {"name": parameter.name, "in": "query", "description": parameter.about, "schema": schema}
