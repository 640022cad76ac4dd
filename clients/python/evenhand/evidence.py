"""Deriving saved reports again from their evidence.

The statistics are the platform's: it contributes them to this client by the entry point group ``evenhand.reports``, and
without it only a report's digest can be checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evenhand.errors import InvalidInput, NotFound
from evenhand.plugins import HINT, contributed, installed
from evenhand.reports import AuditReport

GROUP = "evenhand.reports"
REPORT, PREDICTIONS, QUALITY = "report.json", "predictions.parquet", "quality.parquet"
LAST_DIGITS = 1e-8
"""Another processor may round the last digit differently; a relative difference up to this is no other number."""


@dataclass(frozen=True)
class Finding:
    """One place where a report and its evidence disagree."""

    path: str
    what: str
    reported: Any
    derived: Any
    relative: float | None

    def __str__(self) -> str:
        where = f"{self.path} ({self.what})" if self.what else self.path
        return f"{where}: reported {self.reported}, derived {self.derived}"


@dataclass(frozen=True)
class Verification:
    """What came of deriving a report again; ``holds`` says whether it may be believed."""

    digest_holds: bool
    rows_hold: bool
    exact: bool
    numbers: int
    largest_relative: float | None
    summary: str
    differences: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        """Digest and rows are right, and every number follows, up to the last digit that processors disagree about."""
        small = self.largest_relative is not None and self.largest_relative <= LAST_DIGITS
        return self.digest_holds and self.rows_hold and (self.exact or small)


def platform_installed() -> bool:
    """Whether reports can be derived again here."""
    return installed(GROUP, "verify")


def verify(report: AuditReport, predictions: Path, quality: Path) -> Verification:
    """Derive every number of a report from the rows beside it.

    Raises:
        FailedPrecondition: the platform is not installed here (PLUGIN_MISSING).
        NotFound: one of the files is not there.
        InvalidInput: a file is not what it should be.
    """
    derive = _contributed("verify")
    found = derive(report.text, _bytes(predictions), _bytes(quality))
    differences = tuple(Finding(**difference) for difference in found["differences"])
    return Verification(**{**found, "differences": differences})


def merge(folders: Sequence[Path], *, ids: Literal["local", "global"] = "local") -> Mapping[str, bytes]:
    """One audit out of several sites', each a folder with report.json and its two Parquet files; the files by name.

    With ``ids="local"`` patients of different sites are different people; with "global" an id means the same patient
    everywhere. Errors as :func:`verify`, and InvalidInput for sites that were audited with different settings.
    """
    if len(folders) < 2:
        raise InvalidInput("name the folders of two sites or more", field="sites")
    combine = _contributed("merge")
    sites = [
        {
            "name": name,
            "report": _bytes(folder / REPORT),
            "predictions": _bytes(folder / PREDICTIONS),
            "quality": _bytes(folder / QUALITY),
        }
        for name, folder in zip(_site_names(folders), folders, strict=True)
    ]
    files: Mapping[str, bytes] = combine(sites, ids)
    return files


def _site_names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, or numbers where two have the same."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [f"site-{number}" for number in range(1, len(names) + 1)]


def _contributed(name: str) -> Callable[..., Any]:
    refusal = "numbers can only be derived again where the platform is installed"
    return contributed(GROUP, name, refusal, hint=f"{HINT}; --digest-only checks the digest alone")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        hint = "`evenhand audits download` writes all files of an audit into one folder"
        raise NotFound(
            "the report's evidence is not there", field=str(path), reason="FILE_NOT_FOUND", hint=hint
        ) from error
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", field=str(path)) from error
