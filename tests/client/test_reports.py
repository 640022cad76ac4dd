import json
from importlib import resources

import numpy as np
import pandas as pd
import pytest
from evenhand import published
from evenhand.errors import InvalidInput, Undecodable, UnsupportedFormat
from evenhand.reports import CELL_COLUMNS, CHANGE_COLUMNS, FAMILY_COLUMNS, GAP_COLUMNS, AuditReport
from evenhand.summary import findings, group_rates, judged, pipeline_summary
from hypothesis import given
from hypothesis import strategies as st

from services.maths.canonical import digest


@pytest.fixture
def report(client, spec):
    return client.audits.create(spec).result(10).report()


def tables_of(report):
    return (
        (report.cells, CELL_COLUMNS),
        (report.gaps, GAP_COLUMNS),
        (report.changes, CHANGE_COLUMNS),
        (report.families, FAMILY_COLUMNS),
    )


def published_tables_of(report):
    block = report.published
    return (
        (block.thresholds, published.THRESHOLD_COLUMNS),
        (block.changes, published.CHANGE_COLUMNS),
        (block.averages, published.AVERAGE_COLUMNS),
        (block.spreads, published.SPREAD_COLUMNS),
    )


def test_the_columns_are_those_of_the_published_schema():
    schema = json.loads(resources.files("services.audit.results").joinpath("report.schema.json").read_text())
    kinds = {"cell": CELL_COLUMNS, "gap": GAP_COLUMNS, "change": CHANGE_COLUMNS, "family": FAMILY_COLUMNS}
    kinds |= {
        "published_threshold": published.THRESHOLD_COLUMNS,
        "published_change": published.CHANGE_COLUMNS,
        "published_average": published.AVERAGE_COLUMNS,
        "published_spread": published.SPREAD_COLUMNS,
    }
    for name, columns in kinds.items():
        assert list(columns) == schema["$defs"][name]["required"], name


@pytest.mark.parametrize(("version", "said"), [("1.0", "again"), ("3.1", "newer client"), ("", "newer client")])
def test_a_report_of_another_major_version_says_what_to_do(report, version, said):
    text = json.dumps({**report.plain, "schema_version": version}).encode()
    with pytest.raises(UnsupportedFormat) as caught:
        AuditReport.from_json(text)
    assert caught.value.field == "schema_version"
    assert said in caught.value.hint


def test_findings_come_with_interval_and_adjusted_p_gaps_first(report):
    found = findings(report)
    assert list(found["verdict"]) == ["gap", "gap changed"]
    assert list(found["pipeline"]) == ["degraded", "original → degraded"]
    gap = found.iloc[0]
    assert (gap["label"], gap["attribute"], gap["measure"]) == ("Edema", "sex", "tpr eop")
    assert gap["estimate"] == pytest.approx(0.4)
    assert gap["95 % interval"] == "0.2 to 0.55"
    assert gap["adjusted p"] == pytest.approx(0.004)
    assert gap["groups"] == "Female -0.2"


def test_a_change_for_everyone_comes_after_everything_about_groups(report):
    overall = {**report.plain["changes"][0], "attribute": "", "definition": "overall", "p_adjusted": 0.0005}
    cohort = {**report.plain["gaps"][0], "metric": "prevalence", "family": "cohort", "verdict": "gap"}
    changed = {"changes": [overall, *report.plain["changes"]], "gaps": [cohort, *report.plain["gaps"]]}
    found = findings(AuditReport({**report.plain, **changed}, b""))
    assert list(found["verdict"]) == ["gap", "gap changed", "cohort differs", "changed for all"]


def test_a_group_that_stands_out_where_no_gap_could_be_tested_is_a_finding(report):
    gaps = [{**row, "verdict": "insufficient_evidence"} for row in report.plain["gaps"]]
    cells = [
        {**row, "difference_ci_low": -0.3, "difference_ci_high": -0.1} if row["verdict"] == "gap" else row
        for row in report.plain["cells"]
    ]
    gap = findings(AuditReport({**report.plain, "gaps": gaps, "cells": cells}, b"")).iloc[0]
    assert (gap["verdict"], gap["pipeline"], gap["groups"]) == ("gap", "degraded", "Female")
    assert (gap["measure"], gap["estimate"]) == ("tpr against everyone", -0.2)
    assert gap["95 % interval"] == "-0.3 to -0.1"


def test_a_group_behind_a_gap_of_two_metrics_is_no_second_finding(report):
    gaps = [{**row, "metric": "tpr,fpr", "definition": "eodd_half"} for row in report.plain["gaps"]]
    assert list(findings(AuditReport({**report.plain, "gaps": gaps}, b""))["verdict"]) == ["gap", "gap changed"]


def test_a_difference_in_prevalence_is_the_cohorts_and_not_a_gap_of_a_model(report):
    row = {**report.plain["gaps"][0], "metric": "prevalence", "family": "cohort", "verdict": "gap"}
    other = AuditReport({**report.plain, "gaps": [row], "cells": report.plain["cells"][:3]}, b"")
    assert list(findings(other)["verdict"]) == ["gap changed", "cohort differs"]
    assert list(judged(other)["question"]) == ["gaps changed by a candidate", "prevalence by group"]
    assert "gaps by sex" not in pipeline_summary(other)


def test_what_could_not_be_judged_is_counted_beside_what_was(report):
    counts = judged(report).set_index("question")
    assert list(counts.loc["gaps between groups"]) == [2, 2, 2]
    assert list(counts.loc["gaps changed by a candidate"]) == [1, 0, 0]


def test_a_report_without_findings_has_an_empty_table_of_them(report):
    quiet = AuditReport({**report.plain, "gaps": [], "changes": [], "cells": report.plain["cells"][:3]}, b"")
    assert findings(quiet).empty
    assert judged(quiet).empty


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_the_digest_is_the_platforms_for_any_contents(contents):
    tables = {"cells": [], "gaps": [], "changes": [], "families": []}
    plain = {"schema_version": "2.0", "cohort": {}, **tables, "methods": contents}
    try:
        stated = digest(plain)
    except UnicodeEncodeError:  # lone surrogates are no Unicode: no report has them
        return
    text = json.dumps({**plain, "digest": stated, "envelope": {"host": "x"}}, allow_nan=False)
    # -0.0 is the one number that the platform never writes into a report.
    if "-0.0" not in text:
        assert AuditReport.from_json(text.encode()).verify()


def test_a_true_report_verifies_whatever_its_envelope_or_layout(report):
    assert report.verify()
    moved = {**report.plain, "envelope": {"host": "elsewhere"}}
    assert AuditReport.from_json(json.dumps(moved, indent=3).encode()).verify()


def test_any_changed_byte_outside_digest_free_parts_is_noticed(report):
    """Every byte of every value and key is changed in turn; only the envelope may change."""
    covered = {key: value for key, value in report.plain.items() if key != "envelope"}
    text = json.dumps(covered, separators=(",", ":"), ensure_ascii=True).encode()
    unnoticed = []
    for index in range(len(text)):
        changed = text[:index] + bytes([text[index] ^ 1]) + text[index + 1 :]
        try:
            if AuditReport.from_json(changed).verify():
                unnoticed.append((index, text[max(0, index - 10) : index + 10]))
        except (Undecodable, InvalidInput):
            continue
    assert unnoticed == []


@pytest.mark.parametrize(
    "text", [b"", b"\xff", b"{", b"[1]", b'{"a": NaN}', b'{"a":1,"a":2}', b"{}", b"[" * 100_000], ids=repr
)
def test_what_is_no_report_is_refused(text):
    with pytest.raises((Undecodable, InvalidInput)):
        AuditReport.from_json(text)


def test_columns_are_typed_even_where_everything_is_null(report):
    for table, kinds in tables_of(report):
        frame = table.to_pandas()
        assert dict(frame.dtypes.astype(str)) == kinds
        assert len(frame) == len(table) > 0
    assert report.cells.to_pandas()["positives"].isna().sum() == 1
    assert report.cells.to_pandas()["shrunken"].isna().all()


def test_a_report_without_the_published_block_has_its_tables_empty(report):
    older = AuditReport({key: value for key, value in report.plain.items() if key != "published"}, b"")
    for table, kinds in published_tables_of(older):
        assert (len(table), dict(table.to_pandas().dtypes.astype(str))) == (0, kinds)


def test_a_column_that_a_newer_platform_adds_is_kept(report):
    rows = [{**row, "power": 0.8} for row in report.plain["gaps"]]
    newer = AuditReport({**report.plain, "gaps": rows}, b"")
    assert list(newer.gaps.to_pandas().columns) == [*GAP_COLUMNS, "power"]


def test_save_keeps_the_very_bytes_and_load_reads_them(report, twin, tmp_path):
    path = report.save(tmp_path / "deep" / "report.json")
    assert path.read_bytes() == twin.artifacts["report.json"]
    assert AuditReport.load(path).digest == report.digest


def test_the_notebook_view_says_whether_the_digest_holds(report):
    assert "digest verified" in report._repr_html_()
    forged = AuditReport({**report.plain, "cells": []}, b"")
    assert "DOES NOT MATCH" in forged._repr_html_()


def test_the_notebook_view_escapes_names(report):
    gaps = [{**row, "pipeline": "<script>alert(1)</script>"} for row in report.plain["gaps"]]
    assert "<script>" not in AuditReport({**report.plain, "gaps": gaps}, b"")._repr_html_()


def test_the_summary_puts_pipelines_side_by_side(report):
    summary = pipeline_summary(report).set_index("pipeline")
    assert list(summary.index) == ["original", "degraded"]
    assert summary.loc["degraded", "mean AUROC"] == pytest.approx(0.7)
    assert summary.loc["degraded", "PSNR dB"] == pytest.approx(22.5)
    assert list(summary["gaps by sex"]) == ["0 of 3", "2 of 3"]


def test_the_summary_keeps_the_distances_of_two_encoders_apart(report):
    quality = next(row for row in report.plain["cells"] if row["metric"] == "psnr")
    distances = {"phantom-clip": 0.9, "ward-clip": 0.2}
    cells = [{**quality, "metric": "perceptual", "label": name, "estimate": size} for name, size in distances.items()]
    both = AuditReport({**report.plain, "cells": [*report.plain["cells"], *cells]}, b"")
    summary = pipeline_summary(both).set_index("pipeline")
    assert summary.loc["degraded", "distance in phantom-clip"] == 0.9
    assert summary.loc["degraded", "distance in ward-clip"] == 0.2
    assert summary.loc["original"].filter(like="distance").isna().all()


def test_the_planted_drop_is_visible_by_group(report):
    rates = group_rates(report).set_index("group")
    assert rates.loc["Female", "degraded"] == pytest.approx(0.4)
    assert rates.loc["Female", "original"] == pytest.approx(0.81)


def test_cells_that_cannot_be_read_do_not_enter_the_summary(report):
    cells = [{**row, "state": "insufficient"} for row in report.plain["cells"]]
    silent = AuditReport({**report.plain, "cells": cells}, b"")
    assert group_rates(silent).empty
    assert list(pipeline_summary(silent)["pipeline"]) == ["original", "degraded"]


def test_a_report_of_the_platforms_own_reducer_verifies_and_shows_what_was_planted():
    from services.audit.results.reduce import reduce, report_json

    rng, patients = np.random.default_rng(5), 400
    sex = np.where(np.arange(patients) % 2, "Female", "Male")
    truth = (np.arange(patients) % 4 < 2).astype(int)
    parts = []
    for pipeline, faint in (("original", 0.8), ("low-dose", 0.1)):
        signal = np.where(sex == "Female", faint, 0.9) * truth
        score = np.clip(0.5 * signal + 0.5 * rng.random(patients), 0, 1)
        rows = {
            "record_id": [f"r{i:03d}" for i in range(patients)],
            "patient_id": [f"p{i:03d}" for i in range(patients)],
        }
        reading = {"pipeline": pipeline, "task": "classification", "label": "Edema", "y_true": truth, "y_score": score}
        parts.append(pd.DataFrame({**rows, **reading, "threshold": 0.5, "attribute_sex": sex}))
    predictions = pd.concat(parts, ignore_index=True)
    quality = predictions[predictions["pipeline"] == "low-dose"][
        ["record_id", "patient_id", "pipeline", "attribute_sex"]
    ]
    quality = quality.assign(metric="psnr", value=25.0)
    plain = reduce(
        predictions,
        quality,
        attributes=["sex"],
        baseline="original",
        levels={"sex": ["Female", "Male"]},
        provenance={"cohort": {"digest": "d", "patients": patients, "records": patients}},
    )
    report = AuditReport.from_json(report_json(plain, {"host": "x"}))
    assert report.verify()
    for table, kinds in (*tables_of(report), *published_tables_of(report)):
        assert set(table.rows[0]) >= set(kinds)
        assert dict(table.to_pandas().dtypes.astype(str)).items() >= kinds.items()
    summary = pipeline_summary(report).set_index("pipeline")
    assert list(summary.index) == ["original", "low-dose"]
    assert summary.loc["low-dose", "PSNR dB"] == pytest.approx(25.0)
    assert summary["mean AUROC"].is_monotonic_decreasing
    rates = group_rates(report).set_index("group")
    assert rates.loc["Female", "low-dose"] < rates.loc["Male", "low-dose"] - 0.3


def test_groups_keep_the_order_of_the_report(report):
    names = {"Female": "under 40", "Male": "40 to 59"}
    cells = [{**row, "group": names.get(row["group"], row["group"])} for row in report.plain["cells"]]
    assert list(group_rates(AuditReport({**report.plain, "cells": cells}, b""))["group"]) == ["under 40", "40 to 59"]


def test_a_group_that_can_hardly_be_read_does_not_hide_the_others(report):
    cells = list(report.plain["cells"])
    for row in report.plain["cells"]:
        if row["metric"] == "tpr":
            cells += [{**row, "label": label} for label in ("Fracture", "Atelectasis")]
    thin = {**next(row for row in cells if row["metric"] == "tpr"), "group": "Other", "estimate": 0.1}
    cells += [thin, {**thin, "pipeline": "degraded"}]
    rates = group_rates(AuditReport({**report.plain, "cells": cells}, b"")).set_index("group")
    assert list(rates.index) == ["Female", "Male"]
    assert set(rates["labels"]) == {3}
