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
    """The proto's JSON mapping, as REST's GET gives it: camelCase names, 64-bit integers as strings."""
    plain: dict[str, Any] = json_format.MessageToDict(proto, always_print_fields_with_no_presence=True)
    return plain


class Listing(list[P]):
    """A list with a table view."""

    def to_pandas(self) -> pd.DataFrame:
        """One row each, one column per plain field."""
        return pd.DataFrame([item.to_dict() for item in self])

    def _repr_html_(self) -> str:
        html: str = self.to_pandas().to_html(index=False)
        return html
