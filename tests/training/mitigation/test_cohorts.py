"""Fine-tunings on a cohort: whose images they learn from, choose on and score, and who must not be among them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.adapters.object_store import open_object_store
from services.adapters.weights import DirectoryRegistry
from services.errors import FailedPrecondition, InvalidInput
from services.maths.fairness.groups import Grouping
from services.maths.phantoms import draw_records
from services.training.cohorts import read_manifest
from services.training.examples import HELD_OUT, TRAINING, VALIDATION
from services.training.mitigation.cases import attribute_groupings
from services.training.mitigation.gathering import gather
from services.training.mitigation.people import cohort_people
from services.training.runs import run_from_dict
from services.training.zoo import ZOO
from tests.training.mitigation.cohorts import records

torch.set_num_threads(1)


def people_of(room, name, **arguments):
    store = open_object_store(room.settings.store)
    manifest = read_manifest(store, room.ledger.get_resource(name)["manifest_key"])
    return cohort_people(store, manifest, **{"patients": 0, "seed": 1, **arguments})


async def test_a_cohort_is_learned_from_and_scored_by_its_own_splits(room, asked, put):
    put("cohorts/a", records(range(24)))
    operation = room.create(**asked(epochs=1, patients=0, data={"cohort": "cohorts/a"}))
    async with room.working():
        done = await room.state_within(operation.name, 200, "succeeded", "failed")
    assert done.state == "succeeded", done.error
    training = room.get(done.resource)
    told = DirectoryRegistry([room.settings.models, ZOO]).find("xray-unet", "2").training
    assert told["patients"] == 12
    assert told["data"]["cohort"] == "cohorts/a"
    assert told["data"]["cohort_digest"] == room.ledger.get_resource("cohorts/a")["digest"]
    assert training.data.cohort == "cohorts/a"
    assert training.scores["psnr"] > 25


def test_images_go_with_their_rows(room, asked, put):
    put("cohorts/a", records(range(24)))
    operation = room.create(**asked(patients=0, data={"cohort": "cohorts/a"}))
    run = run_from_dict(room.ledger.get_operation(operation.name).request)
    base = DirectoryRegistry([ZOO]).find("xray-unet")
    data = gather(run, run.tuning, base, lambda: None)
    people = people_of(room, "cohorts/a", seed=run.seed)
    by_id = {record.record_id: record for record in records(range(24))}
    for role, cases in ((TRAINING, data.training), (VALIDATION, data.validation), (HELD_OUT, data.held_out)):
        rows = people[people["role"] == role]
        assert len(cases) == len(rows)
        for place, (_, row) in enumerate(rows.iterrows()):
            record = by_id[row["record_id"]]
            assert torch.equal(cases.clean[place], torch.from_numpy(record.image))
            assert cases.patients[place] == record.patient_id
            expected = [np.nan if value is None else value for value in record.labels.values()]
            assert np.array_equal(cases.labels[place].numpy(), np.float32(expected), equal_nan=True)
            assert data.groupings[0].groups[cases.groups[0][place]] == record.attributes["sex"]


def test_without_splits_patients_are_dealt_out_each_to_one_role(room, put):
    put("cohorts/a", records(range(120), splits=None))
    people = people_of(room, "cohorts/a")
    roles = people.groupby("patient_id")["role"].nunique()
    assert (roles == 1).all()
    shares = people.drop_duplicates("patient_id")["role"].value_counts(normalize=True)
    assert shares[TRAINING] == pytest.approx(0.7, abs=0.12)
    again = people_of(room, "cohorts/a")
    assert people["role"].equals(again["role"])
    assert not people["role"].equals(people_of(room, "cohorts/a", seed=2)["role"])


def test_fewer_training_patients_may_be_taken_and_the_others_stay(room, put):
    put("cohorts/a", records(range(40)))
    whole, some = people_of(room, "cohorts/a"), people_of(room, "cohorts/a", patients=5)
    assert some.loc[some["role"] == TRAINING, "patient_id"].nunique() == 5
    for role in (VALIDATION, HELD_OUT):
        assert (some["role"] == role).sum() == (whole["role"] == role).sum()


@pytest.mark.parametrize(
    ("splits", "reason"),
    [(("train", "test"), "SPLIT_EMPTY"), (("validation",), "SPLIT_EMPTY"), (("train", "fold-3"), "SPLIT_UNKNOWN")],
)
def test_splits_that_cannot_be_used_are_refused(room, asked, put, splits, reason):
    put("cohorts/a", records(range(8), splits=splits))
    with pytest.raises(FailedPrecondition) as refusal:
        room.create(**asked(data={"cohort": "cohorts/a"}))
    assert (refusal.value.field, refusal.value.reason) == ("data.cohort", reason)


def test_patients_who_are_in_the_audit_cohort_are_counted_and_refused(room, asked, put):
    put("cohorts/a", records(range(24)))
    put("cohorts/b", records(range(20, 40)))
    with pytest.raises(FailedPrecondition, match="3 patients") as refusal:  # 20, 21, 22; 23 is held out
        room.create(**asked(patients=0, data={"cohort": "cohorts/a", "audit_cohort": "cohorts/b"}))
    assert (refusal.value.field, refusal.value.reason) == ("data.audit_cohort", "COHORTS_OVERLAP")
    assert refusal.value.details == {"patients": "3"}
    put("cohorts/c", records(range(23, 40)))
    room.create(**asked(patients=0, data={"cohort": "cohorts/a", "audit_cohort": "cohorts/c"}))


def test_images_that_a_model_drew_are_learned_from_only_if_the_request_says_so(room, asked, put):
    put("cohorts/made", records(range(24)), synthetic={"spec": {"model": "models/chest-diffusion"}})
    with pytest.raises(FailedPrecondition, match="drawn by models/chest-diffusion") as refusal:
        room.create(**asked(patients=0, data={"cohort": "cohorts/made"}))
    assert (refusal.value.field, refusal.value.reason) == ("data.cohort", "SYNTHETIC_COHORT")
    assert learned_from_synthetic(room, asked, "cohorts/made")
    put("cohorts/a", records(range(24, 48)))
    assert not learned_from_synthetic(room, asked, "cohorts/a")


def learned_from_synthetic(room, asked, cohort) -> bool:
    """What the training says of its data, where synthetic ones were allowed."""
    operation = room.create(**asked(patients=0, data={"cohort": cohort, "allow_synthetic": True}))
    return room.get(room.ledger.get_operation(operation.name).resource).data.allow_synthetic


def test_phantoms_are_no_synthetic_cohort(room, asked):
    with pytest.raises(InvalidInput) as refusal:
        room.create(**asked(data={"world": "null", "allow_synthetic": True}))
    assert refusal.value.field == "data.allow_synthetic"


def test_an_attribute_that_has_one_level_among_the_training_patients_is_refused(room, asked, put):
    """Men are in the cohort, but not among those who are learned from."""
    female = [p for p in range(60) if next(draw_records("chest", "null", p, 3, 8)).row["sex"] == "Female"]
    male = [p for p in range(60) if p not in female]
    put("cohorts/a", [*records(female, splits=("train",)), *records(male[:6], splits=("validation",))])
    with pytest.raises(InvalidInput, match="fewer than two levels") as refusal:
        room.create(**asked(patients=0, data={"cohort": "cohorts/a"}))
    assert refusal.value.field == "mitigation.attributes[0]"


def test_a_level_that_only_held_out_patients_have_leaves_their_images_out(room, put):
    def race(row):
        return {"race": "Other" if int(row["patient_id"][-2:]) % 4 == 3 else "White" if row["age"] < 60 else "Black"}

    put("cohorts/a", records(range(40), attributes=race))
    people = people_of(room, "cohorts/a")
    (found,) = attribute_groupings(people, ["race"], "refuse")
    assert found.groups == ("Black", "White")
    assert set(found.codes[people["role"] != HELD_OUT]) == {0, 1}
    assert set(found.codes[people["role"] == HELD_OUT]) == {-1}


def test_intersections_are_attributes_too(room, put):
    put("cohorts/a", records(range(40), attributes=lambda row: {"race": "White" if row["age"] < 60 else "Black"}))
    people = people_of(room, "cohorts/a")
    sex, race, both = attribute_groupings(people, ["sex", "race", "sex,race"], "refuse")
    assert isinstance(both, Grouping)
    assert both.groups == ("Female, Black", "Female, White", "Male, Black", "Male, White")
    assert np.array_equal(both.codes, sex.codes * 2 + race.codes)
