"""The API described: OpenAPI 3.1, made from the table of routes and the types. Pure."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from sync.hub import api_types as t
from sync.hub.api_routes import BASE, Param, Route

VERSION: Final = "1"
TEMPLATE: Final = "#/components/schemas/{name}"
KEY_HEADER: Final = "Idempotency-Key"
SECURITY: Final = {
    "account": {
        "type": "http",
        "scheme": "bearer",
        "description": "The account's token, `name.secret`.",
    },
    "secondFactor": {
        "type": "apiKey",
        "in": "header",
        "name": "Second-Factor",
        "description": "Of an operator: the six digits of its authenticator, each set once.",
    },
}


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the description of these routes."""
    types: list[Any] = [t.Refusal]
    for route in routes:
        types += [route.answer, *([route.body] if route.body else [])]
        types += [param.type for param in route.params]
    shown, components = msgspec.json.schema_components(types, ref_template=TEMPLATE)
    schema_of = {repr(kind): schema for kind, schema in zip(types, shown, strict=True)}
    paths: dict[str, Any] = {}
    for route in routes:
        described = _operation(route, schema_of)
        paths.setdefault(route.full, {})[route.method.lower()] = described
    paths[f"{BASE}/openapi.json"] = {
        "get": {
            "operationId": "describe",
            "summary": "This description.",
            "responses": {"200": _content("OpenAPI 3.1.", {"type": "object"})},
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Parcel locker hub",
            "version": VERSION,
            "description": (
                "The book of each site, and the hub's voice in it. What is asked here is an entry "
                "in the hub's lanes, and takes effect when the site next hears. Each request is an "
                "account's; `x-roles` says which roles may ask. Refusals: `access.unknown` (401), "
                "`access.expired`, `access.role`, `access.scope`, `access.second_factor`, "
                "`access.by` (403), `access.slow` (429)."
            ),
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": SECURITY},
        "security": [{"account": []}, {"account": [], "secondFactor": []}],
    }


def _operation(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    codes = [*route.refusals, *(["hub.unknown_site"] if "{site}" in route.path else [])]
    told: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.text,
        "x-roles": sorted(route.roles),
        "parameters": [_parameter(param, schema_of) for param in route.params],
        "responses": {
            "200": _content("Done, or as it was already.", schema_of[repr(route.answer)]),
            "default": _content(
                f"Refused: {', '.join(f'`{code}`' for code in sorted(codes)) or 'by its code'}.",
                schema_of[repr(t.Refusal)],
            ),
        },
    }
    if route.keyed:
        told["responses"]["201"] = _content("Written.", schema_of[repr(route.answer)])
        told["parameters"].append(
            {
                "name": KEY_HEADER,
                "in": "header",
                "required": False,
                "description": "A repeated request with the same key is answered as the first.",
                "schema": {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,64}$"},
            }
        )
    if route.body is not None:
        told["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[repr(route.body)]}},
        }
    return told


def _parameter(param: Param, schema_of: dict[str, Any]) -> dict[str, Any]:
    schema = schema_of[repr(param.type)]
    told: dict[str, Any] = {
        "name": param.name,
        "in": param.where,
        "required": param.where == "path" or param.default is msgspec.UNSET,
        "description": param.text,
        "schema": {"type": "array", "items": schema} if param.many else schema,
    }
    return told


def _content(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}
