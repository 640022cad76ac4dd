"""Deriving reports again: a true report follows from its evidence, and nothing that was changed does."""

import json

import pandas as pd
import pytest

from services.audit.results.formats import predictions_table, quality_table
from services.audit.results.reduce import reduce, report_digest, report_json
from services.audit.results.verification import rederive, verify_report
from services.errors import InvalidInput, Undecodable, UnsupportedFormat


@pytest.fixture(scope="module")
def settings(planted):
    """Every setting away from its default."""
    return {
        "attributes": ["sex,age", "sex"],
        "baseline": "unet",
        "levels": {"unused": ["a"], **planted.levels},
        "min_patients": 4,
        "min_cases": 7,
        "reference_groups": {"sex": "Male"},
        "thresholds": [{"pipeline": "unet", "label": "Edema", "source": "its test set", "fitted_on_audited": True}],
        "allow_fitted_thresholds": True,
        "permutations": 99,
        "replicates": 70,
        "seed": 12345,
        "software": {"numpy": "0.1"},
        "provenance": planted.provenance,
    }


@pytest.fixture(scope="module")
def files(planted, settings):
    """report.json, predictions.parquet, quality.parquet."""
    report = reduce(planted.predictions, planted.quality, **settings)
    return (
        report_json(report, {"host": "a"}),
        predictions_table(planted.predictions),
        quality_table(planted.quality),
    )


def test_a_report_follows_exactly_from_its_two_files(files):
    found = verify_report(*files)
    assert found.exact and found.differences == () and found.largest_relative == 0
    assert found.numbers > 1000
    assert "follow exactly" in found.summary()
    assert rederive(json.loads(files[0]), files[1], files[2]) == []


def changed(files, change, *, reseal=True):
    plain = json.loads(files[0])
    change(plain)
    if reseal:
        plain["digest"] = report_digest(plain)
    return json.dumps(plain).encode(), files[1], files[2]


def first(rows):
    return next(row for row in rows if row["estimate"] is not None and row["p_adjusted"] is not None)


@pytest.mark.parametrize("rows", ["cells", "gaps", "changes"])
def test_a_number_that_was_made_up_is_named_even_if_the_digest_was_made_to_fit(files, rows):
    def better(plain):
        first(plain[rows])["p_adjusted"] = 0.99

    found = verify_report(*changed(files, better))
    assert found.digest_holds and found.rows_hold and not found.exact
    (difference,) = found.differences
    assert difference.path.startswith(f"{rows}[") and difference.path.endswith("].p_adjusted")
    assert difference.reported == 0.99 and difference.relative > 0
    assert difference.what and "0.99" in str(difference)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda plain: plain["gaps"].pop(), "gaps.length"),
        (lambda plain: first(plain["cells"]).update(verdict="no_gap_shown", extra=1), "cells["),
        (lambda plain: plain["cohort"].update(patients=10**6), "cohort.patients"),
        (lambda plain: plain["families"][0].update(findings=0, tests=1), "families[0]."),
        (lambda plain: plain["methods"]["text"].append("All is well."), "methods.text.length"),
        (lambda plain: plain["methods"].update(tolerances={}), "methods.tolerances."),
        (lambda plain: plain["provenance"].update(seed=True), "provenance"),
    ],
)
def test_any_other_change_is_named_too(files, change, path):
    found = verify_report(*changed(files, change))
    if path == "provenance":  # what the audit was given is no number of the evidence; the digest protects it
        assert found.exact
        assert not verify_report(*changed(files, change, reseal=False)).digest_holds
        return
    assert not found.exact
    assert any(difference.path.startswith(path) for difference in found.differences)
    assert "do not follow" in found.summary()


def test_last_digits_are_told_from_other_numbers(files):
    def nudged(plain):
        first(plain["cells"])["estimate"] *= 1 + 1e-9

    found = verify_report(*changed(files, nudged))
    assert 0 < found.largest_relative < 1e-8
    assert "last digits" in found.summary()


def test_another_number_is_not_called_a_last_digit(files):
    def halved(plain):
        first(plain["cells"])["estimate"] /= 2

    assert "do not follow" in verify_report(*changed(files, halved)).summary()


def test_other_rows_are_not_the_evidence(files, planted):
    other = planted.predictions.copy()
    other.loc[3, "y_score"] = 0.123
    found = verify_report(files[0], predictions_table(other), files[2])
    assert found.digest_holds and not found.rows_hold and not found.exact
    assert "not the evidence" in found.summary()


def test_a_text_that_was_changed_after_it_was_sealed_says_so(files):
    found = verify_report(*changed(files, lambda plain: plain["cohort"].update(records=1), reseal=False))
    assert not found.digest_holds
    assert "was changed" in found.summary()


@pytest.mark.parametrize(
    ("report", "error"),
    [
        (b"", Undecodable),
        (b"{", Undecodable),
        (b"[]", Undecodable),
        (b"[" * 100_000, Undecodable),
        (b'{"schema_version": 2}', Undecodable),
        (b'{"schema_version": "1.0"}', UnsupportedFormat),
        (b'{"schema_version": "2.0", "cells": []}', Undecodable),
    ],
)
def test_what_is_no_report_is_refused(files, report, error):
    with pytest.raises(error) as caught:
        verify_report(report, files[1], files[2])
    assert caught.value.field == "report.json"


def test_a_report_that_hides_a_setting_is_refused(files):
    with pytest.raises(InvalidInput) as caught:
        verify_report(*changed(files, lambda plain: plain["methods"].pop("seed")))
    assert caught.value.field == "methods.seed"


def test_an_audit_without_quality_rows_is_verified_as_well(planted, settings):
    report = reduce(planted.predictions, pd.DataFrame(), **settings)
    tables = predictions_table(planted.predictions), quality_table(pd.DataFrame())
    assert verify_report(report_json(report, {}), *tables).exact
