"""report.json as it comes from a person's folder: read, and checked for the shape that deriving it again relies on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from services.errors import InvalidInput, Undecodable, UnsupportedFormat

SCHEMA_VERSION = "2.1"
LISTS = ("cells", "gaps", "changes", "families")
_BLOCKS = ("cohort", "methods", "provenance")
_FIELD = "report.json"


def read_report(data: bytes) -> dict[str, Any]:
    """A report.json of this version of the schema. Raises Undecodable or UnsupportedFormat."""
    try:
        plain = json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as fault:
        raise Undecodable("not JSON, or with numbers that are none", field=_FIELD) from fault
    if not isinstance(plain, dict) or not isinstance(plain.get("schema_version"), str):
        raise Undecodable("not a report: it has no schema_version", field=_FIELD)
    if plain["schema_version"].split(".")[0] != SCHEMA_VERSION.split(".", maxsplit=1)[0]:
        raise UnsupportedFormat(
            f"this is a report of schema {plain['schema_version']}; only {SCHEMA_VERSION} can be derived again",
            field=_FIELD,
        )
    missing = {"digest", *_BLOCKS, *LISTS} - set(plain)
    if missing:
        raise Undecodable(f"the report has no {', '.join(sorted(missing))}", field=_FIELD)
    for name, kind in (*((name, dict) for name in _BLOCKS), *((name, list) for name in LISTS)):
        if not isinstance(plain[name], kind):
            raise Undecodable(f"{name} is no {'object' if kind is dict else 'list'}", field=_FIELD)
    for name in ("cohort", "rows"):
        if not isinstance(plain["provenance"].get(name, {}), dict):
            raise Undecodable(f"provenance.{name} is no object", field=_FIELD)
    return plain


def stated_settings(report: Mapping[str, Any]) -> dict[str, Any]:
    """What ``methods`` says of each setting. Raises InvalidInput for one that is missing or of another kind.

    Numbers are checked where they are used; here it is lists, objects and names.
    """
    methods = report["methods"]
    for name, is_one in _KINDS.items():
        if name not in methods:
            raise InvalidInput(f"the report does not state {name!r}", field=f"methods.{name}")
        if not is_one(methods[name]):
            raise InvalidInput(f"what the report states as {name!r} is none", field=f"methods.{name}")
    return {name: methods[name] for name in _KINDS}


def _name(value: Any) -> bool:
    return isinstance(value, str)


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_name, value))


def _names_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_names, value.values()))


def _name_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_name, value.values()))


def _origins(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) and _origin(row) for row in value)


def _origin(row: dict[str, Any]) -> bool:
    named = all(_name(row.get(name)) for name in ("pipeline", "label", "source"))
    return named and isinstance(row.get("fitted_on_audited"), bool) and "threshold" in row


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_KINDS: dict[str, Callable[[Any], bool]] = {
    "attributes": _names,
    "baseline": _name,
    "levels": _names_by_name,
    "min_patients": _whole,
    "min_cases": _whole,
    "reference_groups": _name_by_name,
    "thresholds": _origins,
    "permutations": _whole,
    "replicates": _whole,
    "seed": _whole,
    "software": _name_by_name,
}


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits} is beyond every number")
    return value
