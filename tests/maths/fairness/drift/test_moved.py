"""What moved: each cause planted alone is named, and the others are not."""

import numpy as np
import pytest

from services.maths.fairness.drift.moved import merge_windows, what_moved
from services.maths.fairness.drift.series import Series
from services.maths.fairness.drift.windows import window_cells
from services.maths.fairness.groups import Grouping

CELL = Series("Edema", "tpr", "sex", "F")
FIRST_PATIENT = iter(range(0, 10**9, 10**5))


def arriving(rng, *, prevalence=0.3, shift=0.0, lost=0.0, threshold=0.5, patients=3000):
    """One window; prevalence, a shift of everyone's scores and lost detections are of women alone."""
    sex = rng.integers(0, 2, patients)
    labels = (rng.random(patients) < np.where(sex == 0, prevalence, 0.3)).astype(np.int8)
    scores = np.where(labels == 1, 0.62, 0.38) + 0.13 * rng.standard_normal(patients) + np.where(sex == 0, shift, 0.0)
    scores = np.where((sex == 0) & (labels == 1) & (rng.random(patients) < lost), 0.45, scores)
    return window_cells(
        np.clip(scores, 0, 1)[None].astype(np.float32),
        labels[None],
        [Grouping("sex", ("F", "M"), sex)],
        next(FIRST_PATIENT) + np.arange(patients),
        np.array([threshold]),
        label_names=["Edema"],
    )


def moved(seed, reference=None, **now):
    rng = np.random.default_rng(seed)
    before = merge_windows([arriving(rng, **(reference or {})) for _ in range(3)])
    return what_moved(before, arriving(rng, **now), CELL)


def test_a_prevalence_that_moved_is_no_gap_that_drifted():
    several = [moved(seed, prevalence=0.5) for seed in range(40)]
    assert all(found.causes[0] == "prevalence" for found in several)
    assert sum(found.causes == ("prevalence",) for found in several) >= 36
    assert sum("gap" in found.causes for found in several) <= 2
    assert np.mean([found.component("prevalence").size for found in several]) == pytest.approx(0.2, abs=0.01)
    # More of the sicker move the mean of all scores, and nobody's own.
    assert all(found.component("mean_score").moved for found in several)


def test_scores_that_rose_for_everyone_of_a_group_are_named():
    found = moved(1, shift=0.03)
    assert "scores" in found.causes
    assert "prevalence" not in found.causes
    assert found.component("mean_score").size == pytest.approx(0.03, abs=0.015)


def test_lost_detections_are_a_gap_that_drifted_by_their_size():
    found = moved(2, lost=0.2)
    assert found.causes[0] == "gap"
    assert "prevalence" not in found.causes
    tpr = found.component("tpr")
    assert tpr.relative
    assert tpr.lower < -0.2 * 0.82 < tpr.upper < 0
    assert not found.component("fpr").moved


def test_a_threshold_that_was_changed_is_named_with_its_effect_on_the_flag_rate():
    found = moved(3, threshold=0.58)
    assert "threshold" in found.causes
    assert "scores" not in found.causes
    assert "prevalence" not in found.causes
    part = found.component("threshold")
    assert part.size == pytest.approx(part.now - part.before, abs=0.03)
    assert part.size < -0.03
    same = moved(3)
    assert same.component("threshold").size == 0.0
    assert same.component("threshold").p == 1.0


def test_of_120_cells_in_which_nothing_moved_few_name_a_cause():
    named = sum(bool(moved(seed, patients=600).causes) for seed in range(100, 220))
    assert named <= 13


def test_limits_cover_the_change():
    hits = sum(
        part.lower <= 0.1 <= part.upper
        for part in (moved(seed, prevalence=0.4, patients=500).component("prevalence") for seed in range(300, 400))
    )
    assert 89 <= hits <= 100


def test_a_distance_of_score_distributions_is_that_of_their_functions():
    rng = np.random.default_rng(4)
    before, now = arriving(rng), arriving(rng, shift=0.1)
    shares = [np.cumsum(w.histogram[0, 0]) / w.histogram[0, 0].sum() for w in (before, now)]
    assert what_moved(before, now, CELL).distance == pytest.approx(np.abs(shares[0] - shares[1]).max())


def test_what_is_not_there_has_no_size_and_moves_nothing():
    rng = np.random.default_rng(5)
    before, now = arriving(rng), arriving(rng, prevalence=0.0)
    found = what_moved(before, now, CELL)
    assert np.isnan(found.component("tpr").size)
    assert found.component("tpr").p == 1.0
    assert found.causes[0] == "prevalence"


def test_unknown_cells_and_components_and_foreign_windows_are_refused():
    rng = np.random.default_rng(6)
    window = arriving(rng)
    with pytest.raises(ValueError, match="no cell of Edema, sex, X"):
        what_moved(window, window, Series("Edema", "tpr", "sex", "X"))
    with pytest.raises(ValueError, match="no component 'auroc'"):
        what_moved(window, window, CELL).component("auroc")
    with pytest.raises(ValueError, match="no window"):
        merge_windows([])
