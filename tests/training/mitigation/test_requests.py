"""What a request for a fine-tuning is refused for, with the field and nothing started."""

from __future__ import annotations

import uuid

import pytest

from services.errors import Conflict, InvalidInput, NotFound, OutOfRange, UnknownLabel
from services.training.zoo import ZOO
from tests.packages import write_package

REFUSED = {
    "a lambda below 0": ({"mitigation": {"weights": [0.5, -0.1]}}, OutOfRange, "mitigation.weights[1]", ""),
    "a lambda that is no number": (
        {"mitigation": {"weights": [float("nan")]}},
        OutOfRange,
        "mitigation.weights[0]",
        "",
    ),
    "a lambda without end": ({"mitigation": {"weights": [float("inf")]}}, OutOfRange, "mitigation.weights[0]", ""),
    "a lambda twice": ({"mitigation": {"weights": [1.0, 1.0]}}, InvalidInput, "mitigation.weights", ""),
    "too long a sweep": (
        {"mitigation": {"weights": [k / 100 for k in range(21)]}},
        InvalidInput,
        "mitigation.weights",
        "",
    ),
    "reweighting beyond 1": (
        {"mitigation": {"method": "reweighting", "weights": [1.5]}},
        OutOfRange,
        "mitigation.weights[0]",
        "",
    ),
    "a weight of nothing": (
        {"mitigation": {"method": "none", "weights": [1.0]}},
        InvalidInput,
        "mitigation.weights",
        "",
    ),
    "another method": ({"mitigation": {"method": "prayer"}}, InvalidInput, "mitigation.method", ""),
    "another policy": ({"mitigation": {"missing": "drop"}}, InvalidInput, "mitigation.missing", ""),
    "no attribute": ({"mitigation": {"attributes": []}}, InvalidInput, "mitigation.attributes", "ATTRIBUTES_MISSING"),
    "an attribute twice": ({"mitigation": {"attributes": ["sex", "sex"]}}, InvalidInput, "mitigation.attributes", ""),
    "a temperature below 0": ({"mitigation": {"temperature": -1.0}}, OutOfRange, "mitigation.temperature", ""),
    "an unknown attribute": (
        {"mitigation": {"attributes": ["sex", "zip"]}},
        InvalidInput,
        "mitigation.attributes[1]",
        "ATTRIBUTE_UNKNOWN",
    ),
    "an attribute with missing values": (
        {"mitigation": {"attributes": ["race"]}, "patients": 300},
        InvalidInput,
        "mitigation.attributes[0]",
        "ATTRIBUTE_NOT_TRAINABLE",
    ),
    "an attribute with one level": (
        {"mitigation": {"attributes": ["sex"]}, "patients": 1},
        InvalidInput,
        "mitigation.attributes[0]",
        "ATTRIBUTE_NOT_TRAINABLE",
    ),
    "an unknown label": ({"mitigation": {"labels": ["Gout"]}}, UnknownLabel, "mitigation.labels[0]", ""),
    "a recipe for another task": ({"recipe": "chest-classifier"}, InvalidInput, "recipe", "TASK_MISMATCH"),
    "a base for another task": ({"base": "models/chest-classifier"}, InvalidInput, "base", "TASK_MISMATCH"),
    "a base for another image": ({"base": "models/mri-unet"}, InvalidInput, "base", "BASE_OF_ANOTHER_NETWORK"),
    "an unknown base": ({"base": "models/none"}, NotFound, "base", "MODEL_NOT_FOUND"),
    "an unknown version": ({"base_version": "77"}, NotFound, "base", "MODEL_NOT_FOUND"),
    "a base without its collection": ({"base": "xray-unet"}, InvalidInput, "base", "NAME_MALFORMED"),
    "a mitigation without a base": ({"base": ""}, InvalidInput, "base", "BASE_MISSING"),
    "an unknown predictor": (
        {"mitigation": {"predictor": "models/none"}},
        NotFound,
        "mitigation.predictor",
        "MODEL_NOT_FOUND",
    ),
    "a predictor of other images": (
        {"mitigation": {"predictor": "models/tumour-type-classifier"}},
        InvalidInput,
        "mitigation.predictor",
        "PREDICTOR_MISMATCH",
    ),
    "a predictor of an attribute": (
        {"mitigation": {"predictor": "models/sex-classifier"}},
        InvalidInput,
        "mitigation.predictor",
        "PREDICTOR_MISMATCH",
    ),
    "an unknown cohort": ({"data": {"cohort": "cohorts/none"}}, NotFound, "data.cohort", "COHORT_NOT_FOUND"),
    "an unknown audit cohort": (
        {"data": {"audit_cohort": "cohorts/none"}},
        NotFound,
        "data.audit_cohort",
        "COHORT_NOT_FOUND",
    ),
    "a cohort and a world": ({"data": {"cohort": "cohorts/x", "world": "null"}}, InvalidInput, "data.world", ""),
    "another world": ({"data": {"world": "better"}}, InvalidInput, "data.world", ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_requests_are_refused_with_the_field_and_start_nothing(room, asked, case):
    changes, error, field, reason = REFUSED[case]
    with pytest.raises(error) as refusal:
        room.create(**asked(**changes))
    assert refusal.value.field == field
    assert reason in ("", refusal.value.reason)
    assert room.ledger.list_operations()[0] == []


def test_missing_values_are_refused_with_their_count_and_may_be_a_group(room, asked):
    with pytest.raises(InvalidInput, match=r"'race' is missing in \d+ of \d+ rows"):
        room.create(**asked(patients=300, mitigation={"attributes": ["race"]}))
    room.create(**asked(patients=300, mitigation={"attributes": ["race"], "missing": "own-group"}))


def test_a_base_of_another_width_is_refused(room, asked, tmp_path):
    """The file's own network is what counts, not its name."""
    write_package(
        room.settings.models,
        name="xray-unet",
        version="9",
        family="unet",
        architecture={"in_channels": 1, "out_channels": 1, "width": 8, "levels": 3, "residual": True},
        modality="chest-radiograph",
        input={"channels": 1, "height": 64, "width": 64},
        output={"channels": 1, "height": 64, "width": 64},
    )
    with pytest.raises(InvalidInput) as refusal:
        room.create(**asked())
    assert (refusal.value.field, refusal.value.reason) == ("base", "BASE_OF_ANOTHER_NETWORK")
    room.create(**asked(base_version="1"))


def test_a_predictor_must_be_named_where_there_are_two(room, asked):
    second = (
        (ZOO / "chest-classifier" / "1" / "model.yaml").read_text().replace("name: chest-classifier", "name: other")
    )
    folder = room.settings.models / "other" / "1"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(second)
    with pytest.raises(InvalidInput, match="chest-classifier, other") as refusal:
        room.create(**asked())
    assert (refusal.value.field, refusal.value.reason) == ("mitigation.predictor", "PREDICTOR_MISSING")
    room.create(**asked(mitigation={"predictor": "models/chest-classifier"}))


def test_a_repeated_request_gives_the_first_operation_and_another_one_is_a_conflict(room, asked):
    name = str(uuid.uuid4())
    first = room.create(**asked(request_id=name))
    assert room.create(**asked(request_id=name)).name == first.name
    with pytest.raises(Conflict):
        room.create(**asked(request_id=name, mitigation={"weights": [0.25]}))


def test_what_the_request_left_open_is_pinned_in_the_resource(room, asked):
    training = room.get(room.ledger.get_operation(room.create(**asked()).name).resource)
    assert (training.base, training.base_version) == ("models/xray-unet", "1")
    assert (training.mitigation.predictor, training.mitigation.predictor_version) == ("models/chest-classifier", "1")
    assert list(training.mitigation.weights) == [1.0]
    assert training.mitigation.temperature == 1.0
    assert len(training.mitigation.labels) == 12
    assert training.data.world == "planted"
