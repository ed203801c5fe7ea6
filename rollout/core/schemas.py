"""JSON schemas: whether a value fits one, and example values, which the sandbox answers where a model would be told to
fill one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

_MAX_DEPTH = 12
_WORD = "sandbox "
_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "sandbox@example.com",
    "hostname": "sandbox.example.com",
    "uri": "https://sandbox.example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (Mapping,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}

Known = Mapping[str, Sequence[Any]]
"""By the name of a property, values that are true of it; the first that fits is taken."""


def faults(schema: Mapping[str, Any], value: Any, path: str = "") -> Iterator[str]:
    """What is wrong with `value`, a sentence each.

    Understands what vendors enforce of a structured output: type, enum, const, properties, required,
    additionalProperties, items, anyOf.
    """
    where = path or "the answer"
    if "anyOf" in schema and all(any(faults(one, value, path)) for one in schema["anyOf"]):
        yield f"{where} fits none of the ways that are allowed"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is not one of the allowed values"
    if "const" in schema and value != schema["const"]:
        yield f"{where} is not {schema['const']!r}"
    kinds = schema.get("type", [])
    if kinds and not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        yield f"{where} is not of type {kinds}"
    elif isinstance(value, Mapping):
        yield from _faults_of_members(schema, value, path)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from faults(schema["items"], item, f"{path}[{index}]")


def _is(value: Any, kind: str) -> bool:
    """JSON has one kind of number, and true is none."""
    if isinstance(value, bool):
        return kind == "boolean"
    whole = isinstance(value, float) and value.is_integer()
    return isinstance(value, _TYPES[kind]) or (kind == "integer" and whole)


def _faults_of_members(schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name} is missing"
    for name, item in value.items():
        if name in properties:
            yield from faults(properties[name], item, f"{path}.{name}")
        elif schema.get("additionalProperties") is False:
            yield f"{path}.{name} is not expected"


def check(schema: Any) -> None:
    """Raises ValueError for what is no schema: no object, an unknown `type`, properties that are none."""
    if not isinstance(schema, Mapping):
        raise ValueError("a schema is an object")
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if not isinstance(kind, str) or kind not in _TYPES:
            raise ValueError(f"there is no type {kind!r}")
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        raise ValueError("properties is an object")
    for inner in (*properties.values(), schema.get("items", True)):
        if not isinstance(inner, bool):
            check(inner)


@dataclass(frozen=True)
class _Document:
    """The whole schema, into which `$ref` points, and what is known."""

    schema: Any
    known: Known


def example(schema: Any, known: Known | None = None) -> Any:
    """A value that the schema accepts: the smallest there is, but with every property that is declared, and what is
    `known`.

    Understands type, enum, const, default, properties, items, prefixItems, bounds, format, anyOf, oneOf,
    allOf, $ref into the document. Not `pattern` and `not`: structured outputs of the vendors do not enforce
    them either.
    """
    return _example(schema, _Document(schema, known or {}), 0)


def _example(schema: Any, root: _Document, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return None
    schema = _resolved(schema, root)
    for literal in ("const", "default"):
        if literal in schema:
            return schema[literal]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if schema.get(choice):
            options = [option for option in schema[choice] if not _is_null(option)] or schema[choice]
            return _example(
                {**{k: v for k, v in schema.items() if k != choice}, **options[0]}, root, depth + 1
            )
    return _by_type(schema, root, depth)


def _by_type(schema: Mapping[str, Any], root: _Document, depth: int) -> Any:
    kind = schema.get(
        "type", "object" if "properties" in schema else "array" if "items" in schema else "string"
    )
    if isinstance(kind, list):
        kind = next((option for option in kind if option != "null"), "null")
    if kind == "object":
        return _object(schema, root, depth)
    if kind == "array":
        return _array(schema, root, depth)
    if kind in ("integer", "number"):
        return _number(schema, kind)
    return {"boolean": True, "null": None}.get(kind, _text(schema))


def _object(schema: Mapping[str, Any], root: _Document, depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    wanted = {
        name: inner for name, inner in properties.items() if depth < _MAX_DEPTH // 2 or name in required
    }
    wanted.update({name: {"type": "string"} for name in required if name not in properties})
    return {name: _property(name, inner, root, depth + 1) for name, inner in wanted.items()}


def _property(name: str, schema: Any, root: _Document, depth: int) -> Any:
    """What is known of it and fits, else an example."""
    if isinstance(schema, Mapping):
        for value in root.known.get(name, ()):
            if not any(faults(_resolved(schema, root), value)):
                return value
    return _example(schema, root, depth)


def _array(schema: Mapping[str, Any], root: _Document, depth: int) -> list[Any]:
    fixed = [_example(inner, root, depth + 1) for inner in schema.get("prefixItems", ())]
    most = schema.get("maxItems", 1 if depth < _MAX_DEPTH // 2 else 0)
    count = max(schema.get("minItems", 0), min(1, most)) if "items" in schema else schema.get("minItems", 0)
    return fixed + [_example(schema.get("items", {}), root, depth + 1) for _ in range(count - len(fixed))]


def _number(schema: Mapping[str, Any], kind: str) -> int | float:
    """The least allowed at or above zero, on the grid of `multipleOf`."""
    step = schema.get("multipleOf", 1)
    low = schema.get("minimum", 0)
    if "exclusiveMinimum" in schema:
        low = max(low, schema["exclusiveMinimum"] + (step if kind == "integer" else step / 1000))
    high = schema.get("maximum", schema.get("exclusiveMaximum", low))
    if kind == "number" and "multipleOf" not in schema:
        return float(min(low, high))
    value = ceil(min(low, high) / step) * step
    return int(value) if kind == "integer" else float(value)


def _text(schema: Mapping[str, Any]) -> str:
    text = _FORMATS.get(schema.get("format", ""), "sandbox")
    least, most = schema.get("minLength", 0), schema.get("maxLength", 10_000)
    return (text if len(text) >= least else (_WORD * (least // len(_WORD) + 1))[:least])[:most]


def _resolved(schema: Mapping[str, Any], root: _Document) -> Mapping[str, Any]:
    """The schema with its local `$ref` followed and the members of `allOf` merged in."""
    for _ in range(_MAX_DEPTH):
        if isinstance(schema.get("$ref"), str):
            target = _at(root.schema, schema["$ref"])
            schema = {**target, **{name: value for name, value in schema.items() if name != "$ref"}}
        elif schema.get("allOf"):
            schema = _merged(schema)
        else:
            return schema
    return {}


def _at(root: Any, pointer: str) -> Mapping[str, Any]:
    found = root
    for part in pointer.lstrip("#").strip("/").split("/"):
        if part and isinstance(found, Mapping):
            found = found.get(part.replace("~1", "/").replace("~0", "~"), {})
    return found if isinstance(found, Mapping) else {}


def _merged(schema: Mapping[str, Any]) -> dict[str, Any]:
    merged = {name: value for name, value in schema.items() if name != "allOf"}
    for part in schema["allOf"]:
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = [*merged.get("required", []), *part.get("required", [])]
        merged.update(part)
        if properties:
            merged.update(properties=properties, required=required)
    return merged


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "null"
