"""What a case of bad input to a report is, and the small sound audit that every case spoils in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from services.audit.results.reduce import reduce
from services.errors import ServiceError
from tests.audit.results.worlds import world

PATIENTS = 40
QUICK = {"permutations": 9, "replicates": 4, "min_patients": 2, "min_cases": 3, "provenance": {"seed": 3}}


@dataclass(frozen=True)
class Refused:
    """``call`` must raise exactly ``error`` with ``field``, a message with ``match``, and ``reason`` if given."""

    call: Callable[[], Any]
    error: type[ServiceError]
    field: str
    match: str
    reason: str = ""


@dataclass(frozen=True)
class Kept:
    """``call`` must give, without a warning, something of which ``holds`` is true."""

    call: Callable[[], Any]
    holds: Callable[[Any], bool]


Cases = dict[str, Refused | Kept]


def audit(**changed: Any) -> dict[str, Any]:
    """The report of a sound audit (two pipelines, one label, Dice, 40 patients), with some arguments changed."""
    return reduce(**{**world(3, patients=PATIENTS, dice=True), **QUICK, **changed})


def predictions() -> pd.DataFrame:
    """The sound audit's predictions."""
    frame: pd.DataFrame = world(3, patients=PATIENTS)["predictions"]
    return frame


def quality() -> pd.DataFrame:
    """The sound audit's quality rows: Dice of the baseline."""
    frame: pd.DataFrame = world(3, patients=PATIENTS, dice=True)["quality"]
    return frame


def spoiled(frame: pd.DataFrame, column: str, value: Any, rows: Any = slice(0, 1)) -> pd.DataFrame:
    """A copy with ``value`` in a column of some rows, the first by default."""
    copy = frame.astype({column: object})
    copy.loc[copy.index[rows], column] = value
    return copy


def cells(report: dict[str, Any], **where: Any) -> list[dict[str, Any]]:
    """The cells that fit, at least one."""
    found = [row for row in report["cells"] if all(row[key] == value for key, value in where.items())]
    assert found, where
    return found


def silent(rows: list[dict[str, Any]]) -> bool:
    """No row gives a number, or a finding."""
    numbers = {row[name] for row in rows for name in ("estimate", "ci_low", "ci_high", "p_value", "p_adjusted")}
    return bool(rows) and numbers == {None} and not {row["verdict"] for row in rows} & {"gap", "no_gap_shown", "change"}


def undefined(rows: list[dict[str, Any]]) -> bool:
    """Every cell is undefined, and says so with nulls."""
    return silent(rows) and {row["state"] for row in rows} == {"undefined"}
