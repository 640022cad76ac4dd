"""What must not move when one attribute does: what else the readers see of the images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.platform.evaluation.conditions import is_missing
from services.platform.prompt_grid.auditing import AFTER, BEFORE, Grid
from services.platform.prompt_grid.judges import ORGAN
from services.platform.prompt_grid.shares import change, share

Rows = list[dict[str, Any]]
Bools = npt.NDArray[np.bool_]

_READ = "read_"


@dataclass(frozen=True)
class Question:
    """Is ``level`` of ``attribute`` shown on the images ``chosen``? They all were ``asked`` for it, or left it open."""

    kind: str
    attribute: str
    level: str
    asked: bool
    chosen: Bools


def other_rows(grid: Grid) -> Rows:
    """One row for each organ, attribute and level: fidelity to what is asked for, and shares of what is left open.

    With a baseline also the change, whose ``p_adjusted`` is Holm's over the table.
    """
    rows = [_answer(grid, question) for question in _questions(grid)]
    _adjust(rows)
    return rows


def _questions(grid: Grid) -> Iterator[Question]:
    after = grid.of(AFTER)
    kinds = after["kind"].to_numpy(object)
    for kind in dict.fromkeys(prompt.kind for prompt in grid.prompts if prompt.kind):
        for column in (name for name in map(str, after.columns) if name.startswith(_READ)):
            attribute = column.removeprefix(_READ)
            seen = {
                str(value) for value in grid.images.loc[grid.images["kind"] == kind, column] if not is_missing(value)
            }
            if not seen:
                continue
            wanted = np.array([_wanted(grid, number, attribute) for number in after["prompt_number"]], object)
            for level in sorted({str(level) for level in wanted[kinds == kind] if level is not None}):
                yield Question(kind, attribute, level, True, (kinds == kind) & (wanted == level))
            left = (kinds == kind) & np.array([level is None for level in wanted])
            if left.any():  # of two levels one says it all
                yield from (
                    Question(kind, attribute, level, False, left)
                    for level in sorted(seen)[: 1 if len(seen) == 2 else None]
                )


def _wanted(grid: Grid, number: int, attribute: str) -> str | None:
    prompt = grid.prompts[number]
    return prompt.kind if attribute == ORGAN and prompt.kind else prompt.named.get(attribute)


def _answer(grid: Grid, question: Question) -> dict[str, Any]:
    shown, numbers = _shown(grid, AFTER, question), grid.of(AFTER)["prompt_number"].to_numpy()[question.chosen]
    found = share(shown, numbers)
    assert found is not None
    place = {name: getattr(question, name) for name in ("kind", "attribute", "level", "asked")}
    row: dict[str, Any] = {**place, **asdict(found)}
    if BEFORE in grid.models:
        earlier = _shown(grid, BEFORE, question)
        moved = change(earlier, shown, numbers)
        row |= {"before": float(earlier.mean()), "change": None if moved is None else asdict(moved)}
    return row


def _shown(grid: Grid, role: str, question: Question) -> Bools:
    seen = grid.of(role)[f"{_READ}{question.attribute}"].to_numpy(object)[question.chosen]
    return np.array([value == question.level for value in seen], np.bool_)


def _adjust(rows: Rows) -> None:
    """Holm's adjustment over all rows that have a change."""
    tested = [row["change"] for row in rows if row.get("change") is not None]
    running = 0.0
    for rank, moved in enumerate(sorted(tested, key=lambda moved: float(moved["p_value"]))):
        running = max(running, min(1.0, moved["p_value"] * (len(tested) - rank)))
        moved["p_adjusted"] = running
