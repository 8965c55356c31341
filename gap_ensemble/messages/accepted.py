"""What a parameter accepts, in words, from the type that it has in a model of pydantic."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def as_yaml(value: object) -> str:
    """Return a value as it stands in params.yaml, texts in quotes."""
    return repr(value) if isinstance(value, str | list | dict) else _word(value)


def accepted(model: type[BaseModel], keys: Sequence[str]) -> tuple[list[str], str]:
    """Find the parameter that keys lead to, and what it accepts.

    Parameters
    ----------
    model : type
        The whole of the parameters.
    keys : sequence of str
        Where pydantic has found something wrong: behind the keys of the parameter may stand the part of it, such as
        the number of an item, or the type that was tried.

    Returns
    -------
    list of str
        The keys of the parameter.
    str
        Such as `a number ≥ 0 and < 1, null`.
    """
    schema = model.model_json_schema()
    here, parameter = schema, []
    for key in keys:
        of_any_name = [*here.get("patternProperties", {}).values(), here.get("additionalProperties")]
        below = here.get("properties", {}).get(key) or of_any_name[0]
        if not isinstance(below, dict):
            break
        parameter.append(key)
        here = _resolved(below, schema)
    return parameter, ", ".join(dict.fromkeys(_options(here, schema)))


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref", "").rpartition("/")[2]
    return schema["$defs"][reference] if reference else node


def _options(node: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Return what a node of a JSON schema accepts, null last."""
    node = _resolved(node, schema)
    if "anyOf" in node:
        options = [option for below in node["anyOf"] for option in _options(below, schema)]
        return sorted(options, key=lambda option: option == "null")
    if "enum" in node or "const" in node:
        return [_word(value) for value in node.get("enum", [node.get("const")])]
    match node.get("type"):
        case "null":
            return ["null"]
        case "boolean":
            return ["true", "false"]
        case "integer" | "number" as kind:
            bounds = " and ".join(f"{sign} {node[key]:.10g}" for key, sign in BOUNDS.items() if key in node)
            return [f"{'a whole number' if kind == 'integer' else 'a number'} {bounds}".rstrip()]
        case "array":
            items = [" or ".join(_options(item, schema)) for item in node.get("prefixItems", [node.get("items", {})])]
            return [f"[{', '.join(items if 'prefixItems' in node else [*items, '…'])}]"]
        case "object":
            return ["keys and values"]
    return ["a text that is not empty" if node.get("minLength") else "a text"]


def _word(value: object) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
