"""Targets from a cohort of real images: the guide's own outputs of them, not shares that somebody typed."""

from __future__ import annotations

import numpy as np
import pytest

from services.adapters.object_store import open_object_store
from services.errors import FailedPrecondition, InvalidInput, NotFound
from services.hosting.shards import Record
from services.maths.phantoms import draw_records
from services.training.alignment.bench import set_up
from tests.audit.cohorts import put_cohort
from tests.training.alignment.conftest import TEST_PROMPTS
from tests.training.alignment.test_fitting import fitting_of

COHORT = "cohorts/hearts"


def hearts(female: int, male: int):
    """Records of so many women and men."""
    wanted = {"Female": female, "Male": male}
    for patient in range(200):
        drawn = next(iter(draw_records("cardiac", "null", patient, 41)))
        sex = drawn.row["sex"]
        if wanted[sex]:
            wanted[sex] -= 1
            yield Record(f"r{patient}", f"p{patient}", drawn.image, None, {"sex": sex}, {})


@pytest.fixture
def put(room):
    def put(female, male, **more):
        store = open_object_store(room.settings.store)
        put_cohort(room.ledger, store, COHORT, hearts(female, male), levels={"sex": ["Female", "Male"]}, more=more)

    return put


def test_the_shares_are_those_that_the_guide_reads_in_the_cohort(put, run_of):
    put(3, 9)
    run = run_of(shares={"target": {}, "cohort": COHORT})
    assert run.alignment.shares[0].target == ()
    bench = set_up(run.alignment, lambda network: network)
    (guide,) = bench.objective.guides
    assert guide.target == pytest.approx((0.25, 0.75))
    assert guide.fixed.shape == (12, 2)
    np.testing.assert_allclose(guide.fixed.sum(1), 1.0)
    assert all(judge.shares.target == pytest.approx((0.25, 0.75)) for judge in bench.judges)
    fitting = fitting_of(bench)
    judged = fitting.step(bench.objective, TEST_PROMPTS, 1, 0)
    assert judged.gradient.isfinite().all()


def test_images_that_a_model_drew_are_no_target(put, run_of):
    put(3, 9, synthetic={"spec": {"model": "models/phantom-controlnet"}})
    with pytest.raises(FailedPrecondition, match="drawn by models/phantom-controlnet") as raised:
        run_of(shares={"target": {}, "cohort": COHORT})
    assert (raised.value.field, raised.value.reason) == ("alignment.shares[0].cohort", "SYNTHETIC_COHORT")


REFUSED = {
    "both": ({"shares": {"cohort": COHORT}}, InvalidInput, ""),
    "too few images": ({"shares": {"target": {}, "cohort": COHORT}}, InvalidInput, "COHORT_TOO_SMALL"),
    "a joint alignment": (
        {"shares": {"target": {}, "cohort": COHORT}, "alignment": {"joint": True}},
        InvalidInput,
        "",
    ),
    "an unknown cohort": ({"shares": {"target": {}, "cohort": "cohorts/none"}}, NotFound, "COHORT_NOT_FOUND"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_targets_is_refused(put, run_of, case):
    put(1, 1)
    changes, kind, reason = REFUSED[case]
    with pytest.raises(kind) as raised:
        run_of(**changes)
    assert raised.value.field == "alignment.shares[0].cohort"
    assert not reason or raised.value.reason == reason
