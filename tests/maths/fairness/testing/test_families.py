"""All tests of an audit together: what is found, what is controlled, and what may not matter."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from services.maths.fairness.cells import Minimums
from services.maths.fairness.groups import Grouping
from services.maths.fairness.metrics.classification import disaggregate_classification
from services.maths.fairness.sums import patient_sums
from services.maths.fairness.testing import contrasts
from services.maths.fairness.testing.families import group_tests
from services.maths.fairness.testing.permutation import dealt, group_sums
from services.maths.fairness.testing.score_tests import score_null, score_statistics
from services.maths.fairness.testing.vectors import attribute_vectors
from tests.maths.fairness.testing import worlds


@pytest.fixture(scope="module")
def people():
    return worlds.cohort(np.random.default_rng(1), 6000)


@pytest.fixture(scope="module")
def audit(people):
    """Two labels; in the second, positives of race B score 1.2 SD lower. Prevalence doubles with age in both."""
    rng = np.random.default_rng(2)
    made = worlds.Audit()
    prevalence = np.where(people.age == 0, 0.4, 0.2)
    lowered = np.where(people.race == 1, -1.2, 0.0)[people.patient]
    metrics = ("auroc", "tpr", "fpr", "prevalence")
    made.add("plain", people, worlds.label(rng, people, prevalence), metrics)
    made.add("planted", people, worlds.label(rng, people, prevalence, lowered), metrics)
    return made


@pytest.fixture(scope="module")
def tests(people, audit):
    return _run(people, audit)


def _run(people, audit, measured=None, testable=None, permutations=199):
    return group_tests(
        measured or audit.measured,
        vectors=worlds.vectors(people),
        testable=testable or audit.testable,
        seed=3,
        permutations=permutations,
        aurocs=audit.aurocs,
    )


def test_the_planted_gap_is_found_where_it_is(tests):
    found = {key for key, cell in tests.cells.items() if cell.p_adjusted <= 0.05 and cell.family == "primary"}
    assert {("planted", "tpr", "race", "B"), ("planted", "auroc", "race", "B")} <= found
    assert all(key == "planted" and attribute == "race" for key, _, attribute, _ in found)
    cell = tests.cells["planted", "tpr", "race", "B"]
    assert cell.statistic < -5
    assert cell.p_adjusted == cell.p_value == 1 / 200
    for metric in ("tpr", "tpr,fpr", "auroc"):
        assert tests.gaps["planted", metric, "race"].p_adjusted == 1 / 200
    assert tests.gaps["planted", "fpr", "race"].p_adjusted > 0.05
    assert tests.gaps["plain", "tpr,fpr", "race"].p_adjusted > 0.05


def test_a_difference_in_prevalence_is_one_of_the_cohort_and_not_of_the_error_rates(tests):
    for key in ("plain", "planted"):
        assert tests.cells[key, "prevalence", "age", "old"].family == "cohort"
        assert tests.gaps[key, "prevalence", "age"].p_adjusted == 1 / 200
        for metric in ("auroc", "tpr,fpr"):
            assert tests.gaps[key, metric, "age"].p_adjusted > 0.05


def test_families_count_their_tests_and_findings(tests):
    by_family = {name: [cell for cell in tests.cells.values() if cell.family == name] for name in tests.families}
    for name, family in tests.families.items():
        assert family.tests == len(by_family[name]) > 0
        assert family.findings == sum(cell.p_adjusted <= 0.05 for cell in by_family[name])
    assert all("," in key[2] for key, cell in tests.cells.items() if cell.family == "exploratory")
    primary = tests.families["primary"]
    assert 2.5 < primary.critical < 4.0
    clear = [cell for cell in by_family["primary"] if abs(cell.statistic) > primary.critical + 0.3]
    assert all(cell.p_adjusted <= 0.05 for cell in clear)


def test_only_what_is_testable_is_tested(tests, audit):
    expected = {
        (key, metric, attribute, group)
        for (key, metric, attribute), groups in audit.testable.items()
        for group in groups
    }
    assert set(tests.cells) == expected
    assert ("plain", "tpr", "sex,age,race", "F, old, E") not in expected


def test_the_p_of_a_gap_is_that_of_its_largest_contrast(people, tests, audit):
    vectors = worlds.vectors(people)
    null = score_null([contrasts._label(audit.measured["plain"], vectors)])
    sums = group_sums(null.features, dealt(vectors.cell, 3, 0, 200), vectors)
    race = vectors.columns("race")
    rates = [np.abs(score_statistics(null, metric, sums)[0][:, race, 0]) for metric in ("tpr", "fpr")]
    largest = np.maximum(*rates).max(axis=1)
    expected = (1 + (largest[1:] >= largest[0] * (1 - 1e-9)).sum()) / 200
    assert tests.gaps["plain", "tpr,fpr", "race"].p_value == pytest.approx(expected)
    assert tests.gaps["plain", "tpr,fpr", "race"].groups == worlds.RACE


def test_a_second_pipeline_with_the_same_predictions_costs_nothing(people, audit, tests):
    twice = {(pipeline, key): sums for pipeline in ("a", "b") for key, sums in audit.measured.items()}
    testable = {
        ((pipeline, key), metric, attribute): groups
        for pipeline in ("a", "b")
        for (key, metric, attribute), groups in audit.testable.items()
    }
    both = group_tests(twice, vectors=worlds.vectors(people), testable=testable, seed=3, permutations=199)
    alone = group_tests(
        audit.measured, vectors=worlds.vectors(people), testable=audit.testable, seed=3, permutations=199
    )
    for (key, *rest), cell in alone.cells.items():
        if cell.family != "exploratory":
            assert both.cells[("b", key), *rest].p_adjusted == cell.p_adjusted


def test_blocks_of_keys_do_not_matter(people, audit, tests, monkeypatch):
    monkeypatch.setattr(contrasts, "KEYS_AT_ONCE", 1)
    apart = _run(people, audit)
    assert {key: cell.p_adjusted for key, cell in apart.cells.items()} == {
        key: cell.p_adjusted for key, cell in tests.cells.items()
    }
    assert {key: gap.p_value for key, gap in apart.gaps.items()} == {
        key: gap.p_value for key, gap in tests.gaps.items()
    }


@pytest.mark.parametrize(("attribute", "shifted"), [("race", 4), ("age", 1)])
def test_a_shift_of_all_scores_is_no_gap_in_auroc(attribute, shifted):
    """Both classes of one group score higher: placements among everyone fall for it, AUROCs within groups do not."""
    rng = np.random.default_rng(5)
    people = worlds.cohort(rng, 12000)
    truth, score = worlds.label(rng, people, 0.3)
    moved = (getattr(people, attribute) == shifted)[people.patient]
    audit = worlds.Audit()
    audit.add("shifted", people, (truth, (score + 0.6 * moved) / 1.6), ("auroc",))
    arguments = {
        "vectors": worlds.vectors(people),
        "testable": {key: groups for key, groups in audit.testable.items() if key[2] == attribute},
        "seed": 1,
        "permutations": 199,
    }
    within = group_tests(audit.measured, aurocs=audit.aurocs, **arguments)
    assert within.gaps["shifted", "auroc", attribute].p_value > 0.05
    first_order = group_tests(audit.measured, **arguments)
    assert first_order.gaps["shifted", "auroc", attribute].p_value <= 0.01


def test_means_are_tested_beside_rates(people):
    rng = np.random.default_rng(7)
    low = (people.race == 3)[people.patient]
    image = {"psnr": people.within(rng) * 3 + 30 - 1.5 * low, "dice": 0.8 + 0.05 * people.within(rng)}
    measured = {
        ("recon", metric): patient_sums(
            {"value": values, "records": np.ones(len(values))},
            cluster=people.patient,
            sensitive_features=people.groupings,
        )
        for metric, values in image.items()
    }
    testable = {(key, key[1], "race"): worlds.RACE for key in measured}
    tests = group_tests(measured, vectors=worlds.vectors(people), testable=testable, seed=1, permutations=199)
    assert tests.families["primary"].tests == 10
    assert tests.cells[("recon", "psnr"), "psnr", "race", "D"].p_adjusted <= 0.05
    assert tests.cells[("recon", "psnr"), "psnr", "race", "D"].statistic < 0
    assert tests.gaps[("recon", "psnr"), "psnr", "race"].p_value <= 0.05
    assert tests.gaps[("recon", "dice"), "dice", "race"].p_value > 0.05


def _small(rng, patients=40):
    ids = np.arange(patients)
    group = Grouping("sex", ("F", "M"), rng.integers(0, 2, patients))
    sums = patient_sums(
        {"value": rng.normal(size=patients), "records": np.ones(patients)}, cluster=ids, sensitive_features=[group]
    )
    return sums, attribute_vectors(ids, [group]), {("k", "dice", "sex"): ("F", "M")}


def test_the_order_of_records_does_not_matter():
    rng = np.random.default_rng(8)
    patient = rng.integers(0, 50, 300)
    group = Grouping("sex", ("F", "M"), (patient % 3 == 0).astype(np.int64))
    value = rng.normal(size=300)
    results = []
    for order in (np.arange(300), rng.permutation(300)):
        moved = group.take(order)
        sums = patient_sums(
            {"value": value[order], "records": np.ones(300)}, cluster=patient[order], sensitive_features=[moved]
        )
        vectors = attribute_vectors(patient[order], [moved])
        tested = {("k", "dice", "sex"): ("F", "M")}
        results.append(group_tests({"k": sums}, vectors=vectors, testable=tested, seed=1, permutations=199))
    first, second = (result.cells["k", "dice", "sex", "F"] for result in results)
    assert first.p_value == second.p_value
    assert first.statistic == pytest.approx(second.statistic, rel=1e-6)


def test_patients_that_a_key_lacks_are_permuted_along():
    rng = np.random.default_rng(9)
    sums, _, testable = _small(rng)
    more = attribute_vectors(np.arange(60), [Grouping("sex", ("F", "M"), rng.integers(0, 2, 60))])
    tests = group_tests({"k": sums}, vectors=more, testable=testable, seed=1, permutations=99)
    assert 0 < tests.gaps["k", "dice", "sex"].p_value <= 1


def test_nothing_testable_gives_empty_families():
    sums, vectors, _ = _small(np.random.default_rng(1))
    tests = group_tests({"k": sums}, vectors=vectors, testable={("k", "dice", "sex"): ()}, seed=1, permutations=9)
    assert not tests.cells
    assert not tests.gaps
    assert all(family.critical is None and family.tests == 0 for family in tests.families.values())


def test_a_gap_needs_two_groups():
    sums, vectors, _ = _small(np.random.default_rng(1))
    tests = group_tests({"k": sums}, vectors=vectors, testable={("k", "dice", "sex"): ("F",)}, seed=1, permutations=9)
    assert list(tests.cells) == [("k", "dice", "sex", "F")]
    assert not tests.gaps


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"testable": {("k", "dice", "sex"): ("X",)}}, "not groups of attribute 'sex'"),
        ({"testable": {("k", "dice", "race"): ("F",)}}, "not among"),
        ({"testable": {("k", "dice", "sex"): ("F",), ("k", "tpr", "sex"): ("F",)}}, "key of their own"),
        ({"permutations": 0}, "at least 1"),
        ({"seed": -1}, "not negative"),
    ],
)
def test_what_cannot_be_tested_is_refused(change, message):
    sums, vectors, testable = _small(np.random.default_rng(1))
    arguments = {"vectors": vectors, "testable": testable, "seed": 1, "permutations": 9, **change}
    with pytest.raises(ValueError, match=message):
        group_tests({"k": sums}, **arguments)


def test_patients_without_a_vector_are_refused():
    sums, vectors, testable = _small(np.random.default_rng(1))
    fewer = replace(vectors, patient_ids=vectors.patient_ids[:-1], cell=vectors.cell[:-1])
    with pytest.raises(ValueError, match="without an attribute vector"):
        group_tests({"k": sums}, vectors=fewer, testable=testable, seed=1)


def _small_and_large(seed):
    """Two groups of one AUROC; the small one has mostly positives, the large one mostly negatives."""
    rng = np.random.default_rng([11, seed])
    patient = np.arange(1150).repeat(4)
    large = patient >= 150
    truth = (rng.random(len(patient)) < np.where(large, 0.15, 0.8)).astype(np.int8)
    score = 1.5 * truth + rng.standard_normal(len(patient))
    return patient, Grouping("site", ("small", "large"), large.astype(np.int64)), truth, score


def test_unequal_prevalence_does_not_shrink_the_error_of_an_auroc():
    """The small group's few negatives make its own AUROC uncertain, which its share of everyone's does not show."""
    statistics = []
    for seed in range(60):
        patient, grouping, truth, score = _small_and_large(seed)
        found = disaggregate_classification(
            truth,
            ndtr(score / 2),
            np.full(len(truth), 0.5),
            sensitive_features=[grouping],
            cluster=patient,
            minimums=Minimums(),
        )
        part = found.by["auroc", "site"]
        tests = group_tests(
            {"label": found.sums},
            vectors=attribute_vectors(patient, [grouping]),
            testable={("label", "auroc", "site"): part.testable_groups},
            seed=seed,
            permutations=1,
            aurocs={("label", "auroc", "site", group): part.by_group[group] for group in part.comparable_groups},
        )
        statistics.append([tests.cells["label", "auroc", "site", group].statistic for group in ("small", "large")])
    spread = np.std(statistics, axis=0)
    assert (spread < 1.25).all()  # with everyone's error in place of the group's own it is about 2
    assert (spread > 0.5).all()


def test_a_lone_difference_among_hundreds_of_intersections_is_found():
    """Alone, a p-value of 1 / 200 times hundreds of tests could never be a finding."""
    rng = np.random.default_rng(1)
    people, made = worlds.cohort(rng, 20_000), worlds.Audit()
    lowered = np.where((people.race == 1) & (people.sex == 0) & (people.age == 0), -3.0, 0.0)[people.patient]
    for number in range(4):
        made.add(number, people, worlds.label(rng, people, 0.3, lowered if number == 0 else 0.0), ("auroc",))
    testable = {key: groups for key, groups in made.testable.items() if key[2] == "sex,age,race"}
    tests = _run(people, made, testable=testable)
    assert tests.families["exploratory"].tests > 60
    assert [key for key, cell in tests.cells.items() if cell.p_adjusted <= 0.05] == [
        (0, "auroc", "sex,age,race", "F, old, B")
    ]
    assert all(cell.p_adjusted >= cell.p_value for cell in tests.cells.values())


def test_one_misplaced_pair_among_separate_classes_is_no_rarity():
    rng = np.random.default_rng(2)
    patients = 1600
    race = (np.arange(patients) % 7 == 0).astype(np.int64)
    y_true = (np.arange(patients) % 4 == 0).astype(np.int8)
    y_score = np.clip(0.2 + 0.6 * y_true + rng.normal(0, 0.04, patients), 0, 1)
    lowest, highest = (np.flatnonzero((race == 1) & (y_true == truth))[0] for truth in (1, 0))
    y_score[lowest], y_score[highest] = 0.5, 0.51
    grouping = Grouping("race", ("A", "B"), race)
    measured = disaggregate_classification(
        y_true,
        y_score,
        np.full(patients, 0.5),
        sensitive_features=[grouping],
        cluster=np.arange(patients),
        minimums=Minimums(),
    )
    areas = measured.by["auroc", "race"].by_group
    tests = group_tests(
        {"k": measured.sums},
        vectors=attribute_vectors(np.arange(patients), [grouping]),
        testable={("k", "auroc", "race"): ("A", "B")},
        aurocs={("k", "auroc", "race", group): areas[group] for group in ("A", "B")},
        seed=1,
        permutations=499,
    )
    assert areas["A"] == 1.0 > areas["B"]
    # Both records fall into the small group by chance in one of 49 permutations, and so rare is the finding.
    assert tests.cells["k", "auroc", "race", "A"].p_value > 0.004
