"""Several sites, one report: merging parts is computing on the union."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from services.audit.results.formats import predictions_table, quality_table, rows_digest
from services.audit.results.merging import Site, merge_reports
from services.audit.results.reduce import reduce, report_json
from services.audit.results.verification import verify_report
from services.errors import DuplicateRecord, InvalidInput

SETTINGS = {"attributes": ["sex"], "baseline": "original", "permutations": 99, "replicates": 70, "seed": 3}
NUMBERS = ("cells", "gaps", "changes", "families")


def site(name, planted, keep, **changed):
    """The part of the planted audit whose patients ``keep`` wants, audited at one site."""
    parts = [table[table["patient_id"].map(keep)] for table in (planted.predictions, planted.quality)]
    given = {**SETTINGS, "levels": planted.levels, "provenance": {"cohort": {"refused": {"UNDECODABLE": 2}}}, **changed}
    report = reduce(*parts, **given)
    return Site(name, report_json(report, {}), predictions_table(parts[0]), quality_table(parts[1]))


def odd(patient):
    return int(patient[1:]) % 2 == 1


@pytest.fixture(scope="module")
def sites(planted):
    return [site("north", planted, odd), site("south", planted, lambda patient: not odd(patient))]


def test_merging_is_computing_on_the_union(sites, planted):
    merged = merge_reports(sites, ids="global")
    union = reduce(planted.predictions, planted.quality, **SETTINGS, levels=planted.levels, provenance={})
    for key in NUMBERS:
        assert merged.report[key] == union[key]
    assert merged.report["provenance"]["rows"] == union["provenance"]["rows"]
    assert merged.report["cohort"]["patients"] == 400
    assert merged.report["provenance"]["cohort"]["refused"] == {"UNDECODABLE": 4}


def test_local_ids_keep_patients_of_different_sites_apart(planted):
    """Both sites number their patients from zero: without names, two strangers would become one cluster."""
    everyone = [site(name, planted, lambda patient: int(patient[1:]) < 60) for name in ("north", "south")]
    merged = merge_reports(everyone, ids="local")
    (cell,) = [
        row
        for row in merged.report["cells"]
        if (row["pipeline"], row["label"], row["metric"], row["attribute"]) == ("unet", "Edema", "auroc", "")
    ]
    assert cell["patients"] > 60
    assert merged.report["cohort"]["patients"] == 120
    with pytest.raises(DuplicateRecord):
        merge_reports(everyone, ids="global")


def test_a_patient_seen_at_two_sites_is_one_cluster_when_ids_are_global(planted):
    halves = [planted.predictions["record_id"].map(odd), ~planted.predictions["record_id"].map(odd)]
    parts = []
    for name, rows in zip(("north", "south"), halves, strict=True):
        predictions = planted.predictions[rows]
        report = reduce(predictions, pd.DataFrame(), **SETTINGS, levels=planted.levels, provenance={})
        parts.append(Site(name, report_json(report, {}), predictions_table(predictions), quality_table(pd.DataFrame())))
    merged = merge_reports(parts, ids="global").report
    union = reduce(planted.predictions, pd.DataFrame(), **SETTINGS, levels=planted.levels, provenance={})
    assert merged["cells"] == union["cells"]


def test_a_merged_report_is_verified_from_its_own_files(sites):
    merged = merge_reports(sites)
    assert verify_report(report_json(merged.report, {}), merged.predictions, merged.quality).exact


def test_the_order_of_sites_changes_no_number(sites):
    one, other = merge_reports(sites), merge_reports(sites[::-1])
    for key in NUMBERS:
        assert one.report[key] == other.report[key]
    assert one.predictions == other.predictions


def test_distances_in_two_encoders_are_not_merged(planted):
    metric = "perceptual/phantom-clip"
    named = planted.quality["metric"].astype(str).replace("psnr", metric)
    finite = planted.quality["value"].replace(math.inf, 0.0)  # what PSNR says of equal images
    quality = planted.quality.assign(metric=named, value=finite)
    measured = replace(planted, quality=quality)

    def measured_at(name, digest, keep):
        return site(name, measured, keep, provenance={"perceptual": {metric: digest}})

    north = measured_at("north", "a" * 64, odd)
    same, other = (measured_at("south", letter * 64, lambda patient: not odd(patient)) for letter in "ab")
    merged = merge_reports([north, same], ids="global").report
    assert merged["provenance"]["perceptual"] == {metric: "a" * 64}
    assert {cell["label"] for cell in merged["cells"] if cell["metric"] == "perceptual"} == {"phantom-clip"}
    with pytest.raises(InvalidInput, match="'south' was measured with another network") as caught:
        merge_reports([north, other], ids="global")
    assert caught.value.field == f"provenance.perceptual[{metric}]"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"baseline": "unet"}, "methods.baseline"),
        ({"attributes": ["age"]}, "methods.attributes"),
        ({"min_cases": 3}, "methods.min_cases"),
        ({"seed": 4}, "methods.seed"),
        ({"levels": {"sex": ["Male", "Female"], "age": []}}, "methods.levels"),
    ],
)
def test_sites_with_other_settings_are_refused_by_name(sites, planted, changed, field):
    with pytest.raises(InvalidInput, match="'west' was audited with") as caught:
        merge_reports([sites[0], site("west", planted, lambda patient: not odd(patient), **changed)])
    assert caught.value.field == field


@pytest.mark.parametrize("names", [["north"], ["north", "north"], []])
def test_sites_need_names_of_their_own(sites, names):
    with pytest.raises(InvalidInput, match="two or more"):
        merge_reports([Site(name, *[b""] * 3) for name in names])


def test_merged_rows_are_the_union_of_rows(sites, planted):
    from services.audit.results.formats import prediction_rows, read_predictions

    merged = merge_reports(sites, ids="global")
    assert rows_digest(read_predictions(merged.predictions)) == rows_digest(prediction_rows(planted.predictions))
