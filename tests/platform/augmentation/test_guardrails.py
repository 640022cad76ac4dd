"""Who may not meet whom, what an order must say, and what is drawn at random: before any classifier learns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from services.errors import FailedPrecondition, InvalidInput
from services.platform.augmentation.learning import arm_records, learn, undersampled
from services.platform.augmentation.orders import read_order
from services.platform.augmentation.records import Records, check_sources, check_splits
from services.platform.augmentation.studying import check

NAMES = {"sex": ["Female", "Male"]}
REAL = {"name": "real", "real": True, "synthetic": 0}
MADE = {"name": "real + 12", "real": True, "synthetic": 12, "source": "made"}
ORDER = {
    "label": "sick",
    "attributes": ["sex"],
    "balance": ["sex"],
    "arms": [REAL, MADE],
    "repeats": 2,
    "size": 16,
    "fit": {"width": 1, "steps": 2, "batch": 4},
    "workers": 1,
}


def records(count, *, patient, split, seed=0):
    """Noise with two records a patient, alternately sick and healthy."""
    rng = np.random.default_rng(seed)
    number = np.arange(count)
    return Records(
        rng.random((count, 3, 16, 16), np.float32),
        (number // 2 % 2).astype(np.int64),
        np.array([f"{patient}{n // 2:03d}" for n in number]),
        np.array([f"{patient}{n}" for n in number]),
        np.array([split(n // 2) for n in number]),
        pd.DataFrame({"sex": [NAMES["sex"][n // 4 % 2] for n in number]}, dtype=object),
    )


def real(count=120):
    return records(
        count, patient="p", split=lambda n: ("train", "train", "validation", "validation", "test", "test")[n % 6]
    )


def made(sources="t"):
    return records(12, patient=sources, split=lambda n: "", seed=1)


def test_a_synthetic_record_of_a_patient_who_judges_is_refused_with_the_count():
    own = real()
    synthetic = made()
    synthetic.patient[:3] = own.patient[own.split == "test"][0]
    with pytest.raises(
        FailedPrecondition, match="3 of 12 synthetic records of made were made from 1 patients"
    ) as refused:
        check_sources(own, synthetic, "made")
    assert refused.value.reason == "SYNTHETIC_SOURCE_HELD_OUT"
    synthetic.patient[:3] = own.patient[own.split == "train"][0]
    check_sources(own, synthetic, "made")


def test_a_patient_in_two_splits_is_refused_with_the_count():
    crossing = real()
    crossing.split[0] = "test"
    with pytest.raises(FailedPrecondition, match="1 patients are in more than one split"):
        check_splits(crossing)


def test_a_split_without_both_classes_is_refused():
    lacking = real()
    lacking.label[lacking.split == "validation"] = 0
    with pytest.raises(FailedPrecondition, match="the split validation has 40 records"):
        check_splits(lacking)


def test_synthetic_images_are_never_mixed_in_silently():
    silent = {**MADE, "name": "real and more"}
    with pytest.raises(InvalidInput, match="must say that there are 12 synthetic images"):
        read_order({**ORDER, "arms": [REAL, silent]})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"arms": [MADE]}, "arms"),
        ({"arms": [REAL, REAL]}, "arms"),
        ({"arms": [REAL, {"name": "none", "real": False, "synthetic": 0}]}, r"arms\[1\]"),
        ({"repeats": 1}, "repeats"),
        ({"fit": {"steps": 0}}, "fit.steps"),
        ({"sampler": "best"}, "sampler"),
        ({"prevalence": 1.5}, "prevalence"),
        ({"gaps": [{"attribute": "race", "better": "a", "worse": "b"}]}, r"gaps\[0\].attribute"),
        ({"colour": 1}, "augmentation"),
    ],
)
def test_an_order_that_means_nothing_is_refused_by_the_name_of_its_field(change, field):
    with pytest.raises(InvalidInput) as refused:
        read_order({**ORDER, **change})
    assert field.replace("\\", "") == refused.value.field


def test_what_a_cohort_lacks_is_named_before_anything_learns():
    order = read_order({**ORDER, "attributes": ["sex", "bmi"]})
    with pytest.raises(InvalidInput, match="no attribute 'bmi'"):
        check(order, real(), {"made": made()}, NAMES)
    with pytest.raises(InvalidInput, match="there is no synthetic cohort 'made'"):
        check(read_order(ORDER), real(), {}, NAMES)
    with pytest.raises(FailedPrecondition, match="needs 12 synthetic images, made has 5"):
        check(read_order(ORDER), real(), {"made": made().take(np.arange(5))}, NAMES)
    misnamed = read_order({**ORDER, "gaps": [{"attribute": "sex", "better": "Man", "worse": "Female"}]})
    with pytest.raises(InvalidInput, match="'Man' is no group of sex"):
        check(misnamed, real(), {"made": made()}, NAMES)


def test_test_and_validation_are_real_and_training_is_what_the_arm_says(tmp_path):
    order = read_order(ORDER)
    predictions = learn(order, real(), {"made": made()}, tmp_path, lambda *_: None)
    assert set(predictions["split"]) == {"validation", "test"}
    assert set(predictions["record_id"]) == set(real().record[real().split != "train"])
    learned_from = arm_records(real(), made(), order.arms[1], order)
    assert len(learned_from) == 40 + 12 and set(learned_from.split) == {"train", ""}


def test_healthy_patients_are_left_out_at_random_and_whole():
    teaching = real(600).of("train")
    teaching.label[:] = 0
    teaching.label[np.isin(teaching.patient, np.unique(teaching.patient)[::5])] = 1
    kept = undersampled(teaching, 0.5, seed=3)
    assert kept.label.mean() == pytest.approx(0.5, abs=0.02)
    assert (kept.label == 1).sum() == (teaching.label == 1).sum()
    assert all((teaching.patient == name).sum() == (kept.patient == name).sum() for name in np.unique(kept.patient))
    healthy, chosen = (np.unique(some.patient[some.label == 0]) for some in (teaching, kept))
    assert list(chosen) != list(healthy[: len(chosen)]), "the lowest ids are no random draw"
    assert list(chosen) != list(np.unique((again := undersampled(teaching, 0.5, seed=4)).patient[again.label == 0]))


def test_shuffled_labels_are_the_same_labels_on_other_images():
    order = read_order({**ORDER, "arms": [REAL, {**MADE, "shuffled": True}]})
    plain, shuffled = (arm_records(real(), made(), arm, order) for arm in (read_order(ORDER).arms[1], order.arms[1]))
    assert sorted(plain.label[40:]) == sorted(shuffled.label[40:])
    np.testing.assert_array_equal(plain.pixels, shuffled.pixels)
    assert (plain.label[40:] != shuffled.label[40:]).any()


def test_what_is_finished_is_not_learned_again_and_what_is_missing_comes_out_the_same(tmp_path):
    order = read_order(ORDER)
    first = learn(order, real(), {"made": made()}, tmp_path, lambda *_: None)
    files = sorted(tmp_path.glob("*.parquet"))
    assert len(files) == 4
    written = {file: file.stat().st_mtime_ns for file in files}
    files[1].unlink()
    seen = []
    again = learn(order, real(), {"made": made()}, tmp_path, lambda *at: seen.append(at))
    assert seen == [("learning", 3, 4), ("learning", 4, 4)]
    assert [file for file in files if file.stat().st_mtime_ns != written[file]] == [files[1]]
    pd.testing.assert_frame_equal(first, again)


def test_another_cohort_or_seed_or_width_is_learned_anew(tmp_path):
    for number, change in enumerate([{}, {"seed": 8}, {"fit": {"width": 2, "steps": 2, "batch": 4}}]):
        learn(read_order({**ORDER, "arms": [REAL], **change}), real(), {}, tmp_path, lambda *_: None)
        assert len(list(tmp_path.glob("*.parquet"))) == 2 * (number + 1)
