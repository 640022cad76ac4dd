"""An audit's report: its tables, and the check that nobody changed it."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenhand.errors import InvalidInput, Undecodable, UnsupportedFormat
from evenhand.published import Published
from evenhand.tables import Table

SCHEMA = "2"
"""Major version of the reports that are read here."""

_READING = {"task": "str", "label": "str", "metric": "str", "attribute": "str"}
_INTERVAL = {"ci_low": "float64", "ci_high": "float64"}
_TEST = {"p_value": "float64", "p_adjusted": "float64", "family": "str"}
_JUDGED = {"minimum_detectable_gap": "float64", "verdict": "str"}
CELL_COLUMNS = {
    "pipeline": "str",
    **_READING,
    "group": "str",
    "records": "Int64",
    "patients": "Int64",
    "deciding_patients": "Int64",
    "positives": "Int64",
    "excluded_records": "Int64",
    "state": "str",
    "estimate": "float64",
    "standard_error": "float64",
    **_INTERVAL,
    "shrunken": "float64",
    "difference": "float64",
    "difference_ci_low": "float64",
    "difference_ci_high": "float64",
    **_TEST,
    **_JUDGED,
}
GAP_COLUMNS = {
    "pipeline": "str",
    **_READING,
    "definition": "str",
    "group": "str",
    "reference": "str",
    "estimate": "float64",
    "noise_floor": "float64",
    "corrected": "float64",
    **_INTERVAL,
    **_TEST,
    **_JUDGED,
    "groups": "object",
    "excluded_groups": "object",
}
CHANGE_COLUMNS = {
    "baseline": "str",
    "candidate": "str",
    **_READING,
    "definition": "str",
    "estimate": "float64",
    "standard_error": "float64",
    **_INTERVAL,
    **_TEST,
    "verdict": "str",
    "bootstrap_mean": "float64",
    "bootstrap_se": "float64",
}
FAMILY_COLUMNS = {
    "name": "str",
    "procedure": "str",
    "tests": "Int64",
    "alpha": "float64",
    "permutations": "Int64",
    "findings": "Int64",
}
TABLES = ("cells", "gaps", "changes", "families")


class AuditReport:
    """The report of an audit."""

    def __init__(self, plain: Mapping[str, Any], text: bytes) -> None:
        self.plain = plain
        self.text = text

    @classmethod
    def from_json(cls, text: bytes) -> AuditReport:
        """Read report.json.

        Raises:
            Undecodable: not JSON, a key twice in one object, or NaN and the like, which JSON does not have.
            InvalidInput: JSON of another shape.
            UnsupportedFormat: a report of a schema version other than 2.x.
        """
        try:
            plain = json.loads(text, object_pairs_hook=_object_without_duplicates, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise Undecodable(f"not a report: {error}", field="report.json") from error
        if not isinstance(plain, dict):
            raise InvalidInput("a report is a JSON object", field="report.json")
        _check_version(plain)
        for key in ("digest", "cohort", *TABLES):
            if key not in plain:
                raise InvalidInput(f"a report has the key {key!r}; this file has not", field=key)
        return cls(plain, text)

    @classmethod
    def load(cls, path: str | Path) -> AuditReport:
        """Read a saved report; errors as :meth:`from_json`."""
        return cls.from_json(Path(path).read_bytes())

    @property
    def digest(self) -> str:
        """sha256 of the report without digest and envelope, as the report states it."""
        return str(self.plain["digest"])

    @property
    def cells(self) -> Table:
        """One row per pipeline × label × metric × group."""
        return Table(self.plain["cells"], CELL_COLUMNS)

    @property
    def gaps(self) -> Table:
        """One row per pipeline × label × metric × attribute × definition of a gap."""
        return Table(self.plain["gaps"], GAP_COLUMNS)

    @property
    def changes(self) -> Table:
        """One row per candidate and gap, or metric over everyone: candidate minus baseline, paired by patient."""
        return Table(self.plain["changes"], CHANGE_COLUMNS)

    @property
    def families(self) -> Table:
        """One row per family of tests: how many, by which procedure, and how many findings."""
        return Table(self.plain["families"], FAMILY_COLUMNS)

    @property
    def published(self) -> Published:
        """The same rows in the published style, outside every verdict: thresholds, changes, averages, spreads."""
        return Published(self.plain.get("published", {}))

    def computed_digest(self) -> str:
        """sha256 over the canonical JSON: keys sorted, no spaces, UTF-8 unescaped, shortest floats."""
        covered = {key: value for key, value in self.plain.items() if key not in {"digest", "envelope"}}
        text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    def verify(self) -> bool:
        """Whether the contents are those that the digest was taken of. The envelope (times, hosts) is not covered."""
        return self.computed_digest() == self.digest

    def save(self, path: str | Path) -> Path:
        """Write the very bytes that the platform made."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.text)
        return target

    def __repr__(self) -> str:
        cohort = self.plain["cohort"]
        return f"<AuditReport {self.digest[:12]} {cohort.get('patients')} patients, {len(self.cells)} cells>"

    def _repr_html_(self) -> str:
        cohort = self.plain["cohort"]
        size = f"{cohort.get('patients')} patients, {cohort.get('records')} records"
        state = "digest verified" if self.verify() else "DIGEST DOES NOT MATCH"
        head = f"<p><b>Audit report</b> {html.escape(self.digest[:12])} · {size} · {state}</p>"
        return f"{head}<h4>Gaps</h4>{self.gaps._repr_html_()}<h4>Changes</h4>{self.changes._repr_html_()}"


def _check_version(plain: Mapping[str, Any]) -> None:
    if "schema_version" not in plain:
        raise InvalidInput("a report has the key 'schema_version'; this file has not", field="schema_version")
    version = str(plain["schema_version"])
    if version.partition(".")[0] == SCHEMA:
        return
    raise UnsupportedFormat(
        f"a report of schema version {version[:20]}; this client reads {SCHEMA}.x",
        field="schema_version",
        reason="REPORT_VERSION",
        hint="run the audit again, or read it with a client of its time: 1.x reports hold point estimates only"
        if version.startswith("1")
        else "a newer client reads it: pip install --upgrade evenhand",
    )


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
