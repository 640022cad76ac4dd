"""Whatever belongs to one split of a cohort must not be found in another."""

from __future__ import annotations

from services.errors import InvalidInput


class SplitsApart:
    """Gathers, by key, which split things of one kind are in; ``what`` says in words what kind that is."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._first: dict[str, tuple[int, str]] = {}
        self._crossing: dict[str, tuple[int, int]] = {}

    def note(self, key: str, row: int, split: str | None) -> None:
        """That row number ``row``, of ``split``, has ``key``. No key and no split are no matter."""
        if key and split is not None:
            first, expected = self._first.setdefault(key, (row, split))
            if split != expected:
                self._crossing.setdefault(key, (first, row))

    def check(self, column: str, reason: str) -> None:
        """Raises InvalidInput with how many keys are in two splits, and the rows of the first such."""
        if self._crossing:
            first, other = next(iter(self._crossing.values()))
            raise InvalidInput(
                f"no {self._what} may be in two splits; found {len(self._crossing)}, the first in rows {first} and "
                f"{other}. Give each one split, or leave rows out with the schema's keep",
                field=f"table.{column}",
                reason=reason,
            )
