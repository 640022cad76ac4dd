"""Few labels: intervals that cover, are narrower than labels alone, and do not trust scores that are wrong."""

import numpy as np
import pytest

from services.maths.fairness.drift.prediction_powered import (
    RATES,
    cbpe,
    ppi_by_group,
    ppi_rates,
    ppi_sequence,
)
from services.maths.fairness.groups import Grouping

LABELLED = 300
TRUTH = {"prevalence": 0.3, "tpr": 0.8, "fpr": 0.15}


def group(rng, *, records=4000, labelled=LABELLED, per_patient=2, bias=0.0):
    """Scores that tell positives well; patients of ``per_patient`` records whose labels agree; ``bias`` spoils scores.

    Of positives 80 % are flagged at .5 and of negatives 15 %, whatever the scores are called.
    """
    people = records // per_patient
    label = np.repeat(rng.random(people) < TRUTH["prevalence"], per_patient)
    flagged = rng.random(records) < np.where(label, TRUTH["tpr"], TRUTH["fpr"])
    inside = rng.random(records)
    scores = np.where(
        flagged, 0.5 + 0.5 * inside ** np.where(label, 0.5, 2.0), 0.5 * inside ** np.where(label, 1.0, 3.0)
    )
    if bias:
        scores = np.where(flagged, np.minimum(scores + bias, 1.0), scores)
    known = np.full(records, -1, dtype=np.int8)
    chosen = rng.permutation(people)[: labelled // per_patient]
    seen = np.isin(np.repeat(np.arange(people), per_patient), chosen)
    known[seen] = label[seen]
    return scores, known, np.repeat(np.arange(people), per_patient)


def simulated(seed, runs, **world):
    """(runs, 3) whether the interval holds the truth, its width, and the width of labels alone."""
    rng = np.random.default_rng(seed)
    held, width, alone = (np.empty((runs, len(RATES))) for _ in range(3))
    for run in range(runs):
        for place, found in enumerate(ppi_rates(*group(rng, **world), 0.5)):
            held[run, place] = found.lower <= TRUTH[found.metric] <= found.upper
            width[run, place] = found.upper - found.lower
            alone[run, place] = found.labels_upper - found.labels_lower
    return held.mean(axis=0), width.mean(axis=0), alone.mean(axis=0)


def test_with_300_labels_intervals_cover_and_are_narrower_than_those_of_labels_alone():
    held, width, alone = simulated(1, 120)
    assert (held > 0.88).all()
    assert (held < 1.0).all()
    assert (width < alone).all()


@pytest.mark.slow
@pytest.mark.parametrize("world", [{}, {"bias": 0.3}, {"per_patient": 1}, {"per_patient": 4}])
def test_coverage_with_300_labels(world):
    held, width, alone = simulated(2, 3000, **world)
    print(f"PPI {world}: coverage {dict(zip(RATES, held, strict=True))}, width over labels alone {width / alone}")
    assert (held >= 0.93).all()
    assert (held <= 0.98).all()
    assert (width <= alone * 1.001).all()


def test_scores_that_say_nothing_cost_nothing():
    rng = np.random.default_rng(3)
    ratios = []
    for _ in range(40):
        scores, labels, patients = group(rng)
        noise = rng.random(len(scores))
        (found, *_) = ppi_rates(noise, labels, patients, 0.5)
        assert found.tuning < 0.5
        ratios.append((found.upper - found.lower) / (found.labels_upper - found.labels_lower))
    assert np.mean(ratios) < 1.01


def test_without_unlabelled_records_the_estimate_is_that_of_labels_alone():
    scores, labels, patients = group(np.random.default_rng(4), records=300, labelled=300)
    for found in ppi_rates(scores, labels, patients, 0.5):
        assert found.value == found.labels_value
        assert (found.lower, found.upper) == (found.labels_lower, found.labels_upper)
        assert found.unlabelled == 0
    tpr = ppi_rates(scores, labels, patients, 0.5)[1]
    assert tpr.value == pytest.approx((scores[labels == 1] >= 0.5).mean())


def test_perfect_scores_give_the_rates_of_everyone():
    rng = np.random.default_rng(5)
    truth = (rng.random(2000) < 0.3).astype(np.float64)
    labels = np.where(np.arange(2000) < 200, truth, -1).astype(np.int8)
    prevalence = ppi_rates(truth, labels, np.arange(2000), 0.5)[0]
    assert prevalence.tuning == pytest.approx(0.9, abs=0.01)
    assert prevalence.value == pytest.approx(truth.mean(), abs=0.004)


def test_every_group_has_its_own_labelled_sample():
    rng = np.random.default_rng(6)
    (scores, labels, patients), (other, few, people) = group(rng), group(rng, labelled=40)
    grouping = Grouping("sex", ("F", "M", "X"), np.repeat([0, 1], 4000))
    found = ppi_by_group(
        np.concatenate([scores, other]), np.concatenate([labels, few]), np.concatenate([patients, people + 10**6]), 0.5,
        grouping,
    )  # fmt: skip
    assert found["F"] == ppi_rates(scores, labels, patients, 0.5)
    assert [rate.labelled for rate in found["M"]] == [40, 40, 40]
    assert np.isnan(found["X"][0].value)
    assert found["X"][0].labelled == 0


def test_the_running_estimate_covers_at_all_windows_at_once_and_narrows():
    rng = np.random.default_rng(7)
    missed = []
    for _ in range(40):
        rates = [ppi_rates(*group(rng, records=1000, labelled=100), 0.5)[0] for _ in range(12)]
        running = ppi_sequence([r.value for r in rates], [r.variance for r in rates], [r.labelled for r in rates])
        missed.append(((running.lower > 0.3) | (running.upper < 0.3)).any())
        assert running.upper[-1] - running.lower[-1] < 0.6 * (running.upper[0] - running.lower[0])
    assert np.mean(missed) <= 0.10


def test_a_window_without_labels_leaves_the_running_estimate_where_it_was():
    running = ppi_sequence([0.3, np.nan, 0.5], [0.01, np.nan, 0.01], [100, 0, 100])
    assert running.value.tolist() == pytest.approx([0.3, 0.3, 0.4])
    assert running.lower[1] == running.lower[0]


def test_a_hint_believes_the_scores_where_labels_correct_them():
    """Negative control: CBPE on scores that are too high where they flag."""
    rng = np.random.default_rng(8)
    scores, _, _ = group(rng, bias=0.3)
    promised = cbpe(scores, 0.5)
    assert promised.hint
    assert promised.fpr < TRUTH["fpr"] / 2
    assert promised.prevalence > TRUTH["prevalence"] + 0.05
    labelled = ppi_rates(*group(rng, bias=0.3), 0.5)
    assert all(rate.lower <= TRUTH[rate.metric] <= rate.upper for rate in labelled)


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ValueError, match="must be \\(N,\\)"):
        ppi_rates(np.zeros(3), np.zeros(2, np.int8), np.zeros(3), 0.5)
