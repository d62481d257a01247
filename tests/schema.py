"""A small JSON Schema reader: as much as our descriptions use; it says when they use more."""

import re
from typing import Any

KNOWN = {
    "$ref", "additionalProperties", "anyOf", "default", "description", "discriminator", "enum",
    "exclusiveMaximum", "items", "maxItems", "maxLength", "maximum", "minItems", "minLength",
    "minimum", "pattern", "properties", "required", "title", "type", "const",
}  # fmt: skip
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "boolean": (bool,), "null": (type(None),),
    "array": (list,), "object": (dict,), "number": (int, float),
}  # fmt: skip


def problems(value: Any, schema: dict[str, Any], components: dict[str, Any]) -> list[str]:
    """What of `value` is not as the schema says; each with its place."""
    return list(_find(value, schema, components, "$"))


def _find(value: Any, schema: dict[str, Any], components: dict[str, Any], at: str) -> list[str]:
    strange = schema.keys() - KNOWN
    assert not strange, f"tests/schema.py cannot read {strange}"
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return _find(value, components[name], components, at)
    if "anyOf" in schema:
        tried = [_find(value, one, components, at) for one in schema["anyOf"]]
        return [] if any(not one for one in tried) else [f"{at}: fits none: {tried[0]}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at}: {value!r} is none of {schema['enum']}"]
    if "const" in schema and value != schema["const"]:
        return [f"{at}: {value!r} is not {schema['const']!r}"]
    wanted = schema.get("type")
    if wanted is not None:
        fits = isinstance(value, TYPES[wanted]) and not (
            isinstance(value, bool) and wanted in {"integer", "number"}
        )
        if not fits:
            return [f"{at}: {value!r} is no {wanted}"]
    return _bounds(value, schema, at) + _inside(value, schema, components, at)


def _bounds(value: Any, schema: dict[str, Any], at: str) -> list[str]:
    size = len(value) if isinstance(value, str | list) else 0
    wrong = [
        "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value),
        size < schema.get("minLength", schema.get("minItems", 0)),
        size > schema.get("maxLength", schema.get("maxItems", size)),
        "minimum" in schema and value < schema["minimum"],
        "maximum" in schema and value > schema["maximum"],
        "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"],
    ]
    return [f"{at}: {value!r} is out of bounds: {schema}"] if any(wrong) else []


def _inside(value: Any, schema: dict[str, Any], components: dict[str, Any], at: str) -> list[str]:
    found: list[str] = []
    if isinstance(value, list) and "items" in schema:
        for place, one in enumerate(value):
            found += _find(one, schema["items"], components, f"{at}[{place}]")
    if isinstance(value, dict):
        known, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        found += [
            f"{at}: {key} is missing" for key in schema.get("required", ()) if key not in value
        ]
        for key, one in value.items():
            if key in known:
                found += _find(one, known[key], components, f"{at}.{key}")
            elif isinstance(more, dict):
                found += _find(one, more, components, f"{at}.{key}")
            elif "properties" in schema:
                found.append(f"{at}: {key} is not described")
    return found
