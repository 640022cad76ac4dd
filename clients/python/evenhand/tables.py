"""Rows with a typed frame: the tables of reports and plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


class Table:
    """One table of a report or a plan."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, str]) -> None:
        self.rows = list(rows)
        self._kinds = kinds

    def __len__(self) -> int:
        return len(self.rows)

    def to_pandas(self) -> pd.DataFrame:
        """Typed columns: counts Int64, numbers float64 (null as NaN), words str; columns a newer report adds follow."""
        added = dict.fromkeys(key for row in self.rows for key in row if key not in self._kinds)
        frame = pd.DataFrame([dict(row) for row in self.rows], columns=[*self._kinds, *added])
        for column, kind in self._kinds.items():
            frame[column] = frame[column].astype(kind)  # type: ignore[call-overload]
        return frame

    def _repr_html_(self) -> str:
        text: str = self.to_pandas().to_html(index=False, na_rep="", float_format=lambda value: f"{value:.3f}")
        return text
