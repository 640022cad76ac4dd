"""What `evenhand reports` gets of the platform: verification and merging of real reports, through the entry points."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evenhand import commands, evidence
from evenhand.reports import AuditReport

from services.audit.results.formats import predictions_table, quality_table
from services.audit.results.reduce import reduce, report_json
from services.errors import InvalidInput
from services.platform import reports

PATIENTS = 160


def write_site(folder: Path, seed: int, *, min_cases: int = 10) -> Path:
    """The report and the rows of one site's audit."""
    draw = np.random.default_rng(seed)
    truth = (np.arange(2 * PATIENTS) % 3 == 0).astype(int)
    sex = np.repeat(np.where(np.arange(PATIENTS) % 2, "Female", "Male"), 2)
    rows = pd.DataFrame(
        {
            "record_id": [f"r{place:04d}" for place in range(2 * PATIENTS)],
            "patient_id": np.repeat([f"p{place:04d}" for place in range(PATIENTS)], 2),
            "attribute_sex": sex,
        }
    )
    reading = {"task": "classification", "label": "Edema", "y_true": truth, "threshold": 0.5}
    predictions = pd.concat(
        rows.assign(pipeline=name, **reading, y_score=np.clip(signal * truth + 0.6 * draw.random(len(rows)), 0, 1))
        for name, signal in (("original", 0.4), ("unet", 0.3))
    )
    quality = rows.assign(pipeline="unet", metric="psnr", value=draw.normal(30, 2, len(rows)))
    report = reduce(
        predictions,
        quality,
        attributes=["sex"],
        baseline="original",
        levels={"sex": ["Female", "Male"]},
        min_cases=min_cases,
        permutations=19,
        replicates=16,
        provenance={"cohort": {"digest": f"{seed:064d}", "patients": PATIENTS, "records": 2 * PATIENTS}},
    )
    folder.mkdir(parents=True)
    (folder / "report.json").write_bytes(report_json(report, {"display_name": folder.name}))
    (folder / "predictions.parquet").write_bytes(predictions_table(predictions))
    (folder / "quality.parquet").write_bytes(quality_table(quality))
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return write_site(tmp_path / "north", 1)


def files(folder: Path) -> tuple[bytes, bytes, bytes]:
    return tuple((folder / name).read_bytes() for name in (evidence.REPORT, evidence.PREDICTIONS, evidence.QUALITY))  # type: ignore[return-value]


def test_the_client_finds_both_functions() -> None:
    found = {entry.name: entry.load() for entry in entry_points(group=evidence.GROUP)}
    assert found == {"verify": reports.verify, "merge": reports.merge}


def test_every_number_of_a_true_report_follows_from_its_rows(site: Path) -> None:
    found = reports.verify(*files(site))
    assert found["exact"] and found["digest_holds"] and found["rows_hold"]
    assert found["differences"] == []
    assert found["numbers"] > 100
    assert json.dumps(found, allow_nan=False)


def test_a_forged_number_with_a_fresh_digest_is_found_out(site: Path) -> None:
    """Whoever changes a number can compute the digest anew; the rows cannot be talked round."""
    report, *rows = files(site)
    plain = json.loads(report)
    place = next(n for n, cell in enumerate(plain["cells"]) if cell["metric"] == "tpr" and cell["group"] == "Female")
    plain["cells"][place]["estimate"] = 0.99
    forged = AuditReport(plain, b"")
    plain["digest"] = forged.computed_digest()
    found = reports.verify(json.dumps(plain).encode(), *rows)  # type: ignore[arg-type]
    assert found["digest_holds"] and not found["exact"]
    assert [difference["path"] for difference in found["differences"]] == [f"cells[{place}].estimate"]
    (site / "report.json").write_text(json.dumps(plain))
    assert commands.run(["reports", "verify", str(site / "report.json")]) == 4


def test_rows_of_another_audit_are_no_evidence(site: Path, tmp_path: Path) -> None:
    other = write_site(tmp_path / "other", 2)
    found = reports.verify(files(site)[0], *files(other)[1:])
    assert not found["rows_hold"] and found["largest_relative"] is None
    assert json.dumps(found, allow_nan=False)


def test_the_command_line_verifies_and_merges_real_reports(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.run(["reports", "verify", str(site / "report.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"] is True
    south = write_site(tmp_path / "south", 2)
    both = tmp_path / "both"
    assert commands.run(["reports", "merge", str(site), str(south), "--out", str(both)]) == 0
    merged = AuditReport.load(both / "report.json")
    assert merged.verify()
    assert merged.plain["cohort"]["patients"] == 2 * PATIENTS
    assert (both / "report.html").read_text().startswith("<!")
    assert commands.run(["reports", "verify", str(both / "report.json")]) == 0


def test_sites_with_other_settings_are_not_merged(site: Path, tmp_path: Path) -> None:
    other = write_site(tmp_path / "other", 2, min_cases=12)
    sites = [
        dict(zip(("name", "report", "predictions", "quality"), (folder.name, *files(folder)), strict=True))
        for folder in (site, other)
    ]
    with pytest.raises(InvalidInput) as caught:
        reports.merge(sites)
    assert caught.value.field == "methods.min_cases"
