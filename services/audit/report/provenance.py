"""What went in, with digests, and how anybody can check the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.audit.report.markup import Content, Markup, element
from services.audit.report.reading import Reading
from services.audit.report.tables import folded, section, table

_SHOWN_ABOVE = ("cohort.attributes", "cohort.labels", "cohort.refused")
_DIGESTS = ("digest", "sha256")


def provenance_section(reading: Reading) -> Markup:
    """Digests, the way to verify, and everything else that the audit was given."""
    return section("Provenance", "provenance", _verify(), *_tables(reading))


def _verify() -> Markup:
    return element(
        "p",
        "To verify, with predictions.parquet and quality.parquet beside it: ",
        element("code", "evenhand reports verify report.json"),
        ". It computes every number again from the rows and names each that differs. The report's digest is the sha256 "
        "of report.json as canonical JSON (sorted keys, no spaces) without its keys ",
        element("code", "digest"),
        " and ",
        element("code", "envelope"),
        "; times and hosts stand in the envelope only.",
    )


def _tables(reading: Reading) -> Iterator[Markup]:
    report = reading.report
    given = [(path, text) for path, text in _flat(report["provenance"]) if not path.startswith(_SHOWN_ABOVE)]
    digests = [("report", report["digest"]), *((path, text) for path, text in given if path.endswith(_DIGESTS))]
    rows: list[list[Content]] = [[path, element("code", text)] for path, text in digests if text]
    yield table("Digests", ["Of", "sha256"], rows, text_columns=2, class_="wordy")
    software = [(f"software.{name}", version) for name, version in reading.methods.get("software", {}).items()]
    others = [("schema version", report["schema_version"]), *(pair for pair in given if pair not in digests), *software]
    yield folded(
        "Everything else that was given",
        table("What went in", ["What", "Value"], others, text_columns=2, class_="wordy"),
    )


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _flat(value[key], f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _flat(item, f"{path}[{i}]")
    else:
        yield path, "" if value is None else str(value)
