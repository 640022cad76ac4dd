"""Deriving a report again from its evidence, and deriving one report from the evidence of several sites.

Everything here is a pure function of bytes: report.json states every setting that decided its numbers, so it and the
two Parquet files are all that is needed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from services.audit.results.formats import read_predictions, read_quality
from services.audit.results.reading import LISTS, read_report, stated_settings
from services.audit.results.reduce import reduce, report_digest

LAST_DIGITS = 1e-8
"""Another processor may round the last digit differently; a relative difference up to this is no other number."""

_OF_CELLS = ("pipeline", "task", "label", "metric", "attribute")
# Minor version that brought a key of the report.
_SINCE = {"published": 1}
_IDENTITY = ("name", *_OF_CELLS, "baseline", "candidate", "definition", "group", "reference")


@dataclass(frozen=True)
class Difference:
    """One place where the report and its evidence disagree.

    ``path`` leads to it (``cells[12].estimate``), ``what`` names the row in words ("" outside the rows).
    ``relative`` is the difference of two numbers as a share of the larger one; None where they are not both numbers.
    """

    path: str
    what: str
    reported: Any
    derived: Any
    relative: float | None

    def __str__(self) -> str:
        where = f"{self.path} ({self.what})" if self.what else self.path
        return f"{where}: the report says {_shown(self.reported)}, its evidence gives {_shown(self.derived)}"


@dataclass(frozen=True)
class Verification:
    """What came of deriving a report again.

    ``digest_holds``: the report's text is the one its digest was taken of. ``rows_hold``: the Parquet files hold the
    rows whose digests the report states. ``numbers`` counts the numbers compared.
    """

    digest_holds: bool
    rows_hold: bool
    numbers: int
    differences: tuple[Difference, ...]

    @property
    def exact(self) -> bool:
        """Every number, word and digest is as the evidence gives it."""
        return self.digest_holds and self.rows_hold and not self.differences

    @property
    def largest_relative(self) -> float:
        """The largest relative difference of two numbers; 0 if no number differs, infinite if anything else does."""
        return max((math.inf if d.relative is None else d.relative for d in self.differences), default=0.0)

    def summary(self) -> str:
        """One sentence for a person."""
        if not self.digest_holds:
            return "The report was changed after it was written: its digest is not that of its contents."
        if not self.rows_hold:
            return "The Parquet files are not the evidence of this report: their rows have other digests."
        if not self.differences:
            return f"All {self.numbers:,} numbers follow exactly from the evidence."
        if self.largest_relative > LAST_DIGITS:
            return f"{len(self.differences):,} places of the report do not follow from the evidence."
        return (
            f"{len(self.differences):,} of {self.numbers:,} numbers differ in their last digits only: the largest "
            f"relative difference is {self.largest_relative:.1e}."
        )


def verify_report(report: bytes, predictions: bytes, quality: bytes) -> Verification:
    """Verify report.json against predictions.parquet and quality.parquet, all as bytes.

    Raises Undecodable or UnsupportedFormat for files that are not what they should be, InvalidInput for a report whose
    settings its rows do not fit.
    """
    plain = read_report(report)
    scored, measured = read_predictions(predictions), read_quality(quality)
    derived = derive(plain, scored, measured)
    rows = derived["provenance"]["rows"]
    return Verification(
        digest_holds=report_digest(plain) == plain["digest"],
        rows_hold=rows == plain["provenance"].get("rows"),
        numbers=sum(1 for _ in _numbers(derived)),
        differences=tuple(_differences(plain, derived)),
    )


def rederive(
    report: Mapping[str, Any], predictions: bytes | pd.DataFrame, quality: bytes | pd.DataFrame
) -> list[Difference]:
    """Every place where a report and what its evidence gives differ; an empty list is the proof that it follows."""
    scored = read_predictions(predictions) if isinstance(predictions, bytes) else predictions
    measured = read_quality(quality) if isinstance(quality, bytes) else quality
    return list(_differences(report, derive(report, scored, measured)))


def derive(report: Mapping[str, Any], predictions: pd.DataFrame, quality: pd.DataFrame) -> dict[str, Any]:
    """The report that ``reduce`` makes of the rows with the settings of ``report``, without keys of later minors."""
    provenance = {key: value for key, value in report["provenance"].items() if key != "rows"}
    derived = reduce(predictions, quality, provenance=provenance, **settings_of(report))
    later = {key for key, since in _SINCE.items() if _minor(report["schema_version"]) < since}
    if later:
        derived = {key: value for key, value in derived.items() if key not in later}
        derived["schema_version"] = report["schema_version"]
    return derived


def _minor(version: str) -> int:
    """2.1 → 1; a minor that is no number is taken for the newest, so that nothing is left out."""
    minor = version.partition(".")[2]
    return int(minor) if minor.isdecimal() else max(_SINCE.values())


def settings_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of ``reduce`` that a report states, all but ``provenance``."""
    settings = stated_settings(report)
    return {**settings, "allow_fitted_thresholds": any(row["fitted_on_audited"] for row in settings["thresholds"])}


def _differences(reported: Mapping[str, Any], derived: Mapping[str, Any]) -> Iterator[Difference]:
    """Differences in everything but the envelope and the digest, which follows from the rest."""
    for key in sorted((set(reported) | set(derived)) - {"envelope", "digest"}):
        yield from _compared(key, "", reported.get(key), derived.get(key))


def _compared(path: str, what: str, reported: Any, derived: Any) -> Iterator[Difference]:
    if isinstance(reported, Mapping) and isinstance(derived, Mapping):
        named = what or _words(derived) if path.split("[", maxsplit=1)[0] in LISTS else ""
        for key in sorted(set(reported) | set(derived)):
            if key not in reported or key not in derived:
                yield Difference(f"{path}.{key}", named, reported.get(key), derived.get(key), None)
            else:
                yield from _compared(f"{path}.{key}", named, reported[key], derived[key])
    elif isinstance(reported, list | tuple) and isinstance(derived, list | tuple):
        if len(reported) != len(derived):
            yield Difference(f"{path}.length", what, len(reported), len(derived), None)
        for place, (one, other) in enumerate(zip(reported, derived, strict=False)):
            yield from _compared(f"{path}[{place}]", what, one, other)
    elif not _same(reported, derived):
        yield Difference(path, what, reported, derived, _relative(reported, derived))


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _relative(one: Any, other: Any) -> float | None:
    """Of two measured numbers; counts (integers on both sides) that differ are no matter of digits."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)):
        return None
    if isinstance(one, int) and isinstance(other, int):
        return None
    return float(abs(one - other) / max(abs(one), abs(other)))


def _words(row: Mapping[str, Any]) -> str:
    return " / ".join(str(row[key]) for key in _IDENTITY if row.get(key))


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:79]}…"
