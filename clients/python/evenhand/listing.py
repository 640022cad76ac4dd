"""Lists that turn into tables."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import pandas as pd
from google.protobuf import json_format
from google.protobuf.message import Message


class Plain(Protocol):
    """Has a plain form: a table's row."""

    def to_dict(self) -> dict[str, Any]: ...


P = TypeVar("P", bound=Plain)


def api_json(proto: Message) -> dict[str, Any]:
    """The proto's JSON mapping, as REST's GET gives it: camelCase names, 64-bit integers as strings.

    Maps are sorted by key: protobuf gives their entries in an order that differs from process to process.
    """
    plain: dict[str, Any] = json_format.MessageToDict(proto, always_print_fields_with_no_presence=True)
    _sort_maps(proto.DESCRIPTOR, plain)
    return plain


def _sort_maps(descriptor: Any, plain: dict[str, Any]) -> None:
    """In place, at any depth. ``descriptor`` is a message's, of either of protobuf's implementations."""
    for field in descriptor.fields:
        found, kind = plain.get(field.json_name), field.message_type
        if kind is None:
            continue
        if kind.GetOptions().map_entry and isinstance(found, dict):
            plain[field.json_name] = dict(sorted(found.items()))
            kind, found = kind.fields_by_name["value"].message_type, list(found.values())
        for part in found if isinstance(found, list) else [found]:
            if kind is not None and isinstance(part, dict):
                _sort_maps(kind, part)


class Listing(list[P]):
    """A list with a table view."""

    def to_pandas(self) -> pd.DataFrame:
        """One row each, one column per plain field."""
        return pd.DataFrame([item.to_dict() for item in self])

    def _repr_html_(self) -> str:
        html: str = self.to_pandas().to_html(index=False)
        return html
