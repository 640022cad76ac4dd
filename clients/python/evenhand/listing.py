"""Lists that turn into tables."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import pandas as pd


class Plain(Protocol):
    """Has a plain form: what ``--json`` prints and a table's row."""

    def to_dict(self) -> dict[str, Any]: ...


P = TypeVar("P", bound=Plain)


class Listing(list[P]):
    """A list with a table view."""

    def to_pandas(self) -> pd.DataFrame:
        """One row each, one column per plain field."""
        return pd.DataFrame([item.to_dict() for item in self])

    def _repr_html_(self) -> str:
        html: str = self.to_pandas().to_html(index=False)
        return html
