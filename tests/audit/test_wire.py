"""Each rule of a request by itself: one table of bad requests, and what a good one becomes."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from evenhand.audit.v1 import audit_pb2, audit_service_pb2

from services.audit import wire
from services.audit.pipeline import Degrade, Sampling, UseModel
from services.errors import InvalidInput, OutOfRange, ServiceError

Change = Callable[[audit_service_pb2.CreateAuditRequest], None]


def good_request() -> audit_service_pb2.CreateAuditRequest:
    degrade = audit_pb2.Degradation(operator="low-dose-xray", photons=3000)
    spec = audit_pb2.AuditSpec(
        cohort="cohorts/one",
        pipelines=[
            audit_pb2.Pipeline(name="original", stages=[audit_pb2.Stage(classify="chest-classifier")]),
            audit_pb2.Pipeline(
                name="unet",
                stages=[
                    audit_pb2.Stage(degrade=degrade),
                    audit_pb2.Stage(reconstruct="models/xray-unet"),
                    audit_pb2.Stage(classify="chest-classifier"),
                ],
            ),
        ],
        attributes=["sex", "sex, age"],
        seed=7,
    )
    return audit_service_pb2.CreateAuditRequest(spec=spec, display_name="first", request_id=str(uuid.uuid4()))


def test_a_good_request_becomes_a_spec_with_defaults_filled_in() -> None:
    request = wire.audit_request(good_request())
    spec = request.spec
    assert spec.baseline == "original"
    assert spec.attributes == ("sex", "sex,age")
    assert (spec.min_patients, spec.min_cases) == (5, 10)
    assert spec.quality_metrics == ("psnr", "ssim_gaussian11")
    assert (spec.reference_groups, spec.allow_test_thresholds) == ({}, False)
    assert spec.pipelines[1].stages == (
        Degrade({"operator": "low-dose-xray", "photons": 3000.0, "published_bowtie": False}),
        UseModel("reconstruct", "xray-unet"),
        UseModel("classify", "chest-classifier"),
    )


@pytest.mark.parametrize("prefix", ["", "models/"])
def test_a_stage_may_name_a_version_of_its_model(prefix: str) -> None:
    message = good_request()
    message.spec.pipelines[1].stages[1].reconstruct = f"{prefix}xray-unet@12"
    assert wire.audit_request(message).spec.pipelines[1].stages[1] == UseModel("reconstruct", "xray-unet", "12")


def test_a_reconstruct_stage_may_say_how_its_model_samples() -> None:
    message = good_request()
    stage = message.spec.pipelines[1].stages[1]
    stage.sampling.SetInParent()
    assert wire.audit_request(message).spec.pipelines[1].stages[1] == UseModel("reconstruct", "xray-unet")
    stage.sampling.seed = 0
    assert wire.audit_request(message).spec.pipelines[1].stages[1] == UseModel(
        "reconstruct", "xray-unet", sampling=Sampling(seed=0)
    )
    stage.sampling.MergeFrom(audit_pb2.Sampling(sampler="ode", steps=20))
    assert wire.audit_request(message).spec.pipelines[1].stages[1] == UseModel(
        "reconstruct", "xray-unet", sampling=Sampling("ode", 20, 0)
    )


def test_a_radial_acceleration_is_passed_on_as_a_whole_number() -> None:
    message = good_request()
    message.spec.pipelines[1].stages[0].degrade.CopyFrom(
        audit_pb2.Degradation(operator="radial-kspace", acceleration=8)
    )
    assert wire.audit_request(message).spec.pipelines[1].stages[0] == Degrade(
        {"operator": "radial-kspace", "acceleration": 8}
    )


@pytest.mark.parametrize(
    ("asked", "parameters"),
    [
        ({"preset": "mri-8x"}, {"operator": "radial-kspace", "acceleration": 8}),
        (
            {"preset": "mri-4x", "angles": "golden-angle"},
            {"operator": "radial-kspace", "acceleration": 4, "angles": "golden-angle"},
        ),
        (
            {"preset": "xray-low-dose", "bowtie": True},
            {"operator": "low-dose-xray", "photons": 1e4, "bowtie": True, "published_bowtie": False},
        ),
        (
            {"operator": "low-dose-xray", "photons": 500, "noise_model": "line-integrals", "published_bowtie": True},
            {
                "operator": "low-dose-xray",
                "photons": 500.0,
                "noise_model": "line-integrals",
                "published_bowtie": True,
            },
        ),
    ],
)
def test_a_preset_is_its_operator_and_more_may_be_said_beside_it(
    asked: dict[str, object], parameters: dict[str, object]
) -> None:
    message = good_request()
    degrade(**asked)(message)
    assert wire.audit_request(message).spec.pipelines[1].stages[0] == Degrade(parameters)


def test_an_unknown_preset_is_answered_with_all_presets() -> None:
    message = good_request()
    degrade(preset="mri-6x")(message)
    with pytest.raises(InvalidInput, match=r"mri-4x, .*xray-ultra-low-dose"):
        wire.audit_request(message)


def test_what_was_asked_for_arrives_whatever_its_order() -> None:
    message = good_request()
    message.spec.quality_metrics.extend(["perceptual/ward-clip", "lpips_alex", "perceptual/phantom-clip", "psnr"])
    message.spec.reference_groups.update({"sex ,age": "Male, young", "sex": "Male"})
    message.spec.allow_test_thresholds = True
    spec = wire.audit_request(message).spec
    assert spec.quality_metrics == ("psnr", "lpips_alex", "perceptual/phantom-clip", "perceptual/ward-clip")
    assert list(spec.reference_groups.items()) == [("sex", "Male"), ("sex,age", "Male, young")]
    assert spec.allow_test_thresholds
    assert wire.plan_request(audit_service_pb2.PlanAuditRequest(spec=message.spec)) == spec


def set_stage(**stage: object) -> Change:
    def change(message: audit_service_pb2.CreateAuditRequest) -> None:
        message.spec.pipelines[1].stages[0].CopyFrom(audit_pb2.Stage(**stage))  # type: ignore[arg-type]

    return change


def degrade(**parameters: object) -> Change:
    return set_stage(degrade=audit_pb2.Degradation(**parameters))  # type: ignore[arg-type]


def clear(path: str) -> Change:
    def change(message: audit_service_pb2.CreateAuditRequest) -> None:
        parent, _, last = path.rpartition(".")
        target = message
        for part in parent.split("."):
            name, _, index = part.partition("[")
            target = getattr(target, name)
            if index:
                target = target[int(index.rstrip("]"))]  # type: ignore[index]
        target.ClearField(last)  # type: ignore[arg-type]

    return change


def assign(**fields: object) -> Change:
    def change(message: audit_service_pb2.CreateAuditRequest) -> None:
        for name, value in fields.items():
            if isinstance(value, list):
                del getattr(message.spec, name)[:]
                getattr(message.spec, name).extend(value)
            else:
                setattr(message.spec, name, value)

    return change


def reference(**groups: str) -> Change:
    return lambda message: message.spec.reference_groups.update(
        {name.replace("_", ","): group for name, group in groups.items()}
    )


def two_references(message: audit_service_pb2.CreateAuditRequest) -> None:
    message.spec.reference_groups.update({"sex": "Male", " sex": "Female"})


def rename_second(message: audit_service_pb2.CreateAuditRequest) -> None:
    message.spec.pipelines[1].name = "original"


def image_stage_last(message: audit_service_pb2.CreateAuditRequest) -> None:
    message.spec.pipelines[0].stages.append(audit_pb2.Stage(reconstruct="xray-unet"))


def two_segmentations(message: audit_service_pb2.CreateAuditRequest) -> None:
    message.spec.pipelines[0].stages.extend([audit_pb2.Stage(segment="a"), audit_pb2.Stage(segment="b")])


def request_id(text: str) -> Change:
    def change(message: audit_service_pb2.CreateAuditRequest) -> None:
        message.request_id = text

    return change


FIRST, SECOND = "spec.pipelines[0]", "spec.pipelines[1]"
BAD: list[tuple[Change, type[ServiceError], str, str]] = [
    (clear("spec.pipelines"), InvalidInput, "spec.pipelines", "PIPELINE_COUNT"),
    (clear("spec.pipelines[1].name"), InvalidInput, f"{SECOND}.name", "INVALID_INPUT"),
    (rename_second, InvalidInput, f"{SECOND}.name", "PIPELINE_NAME_DUPLICATE"),
    (clear("spec.pipelines[0].stages"), InvalidInput, f"{FIRST}.stages", "NO_READING_STAGE"),
    (image_stage_last, InvalidInput, f"{FIRST}.stages[1]", "STAGE_ORDER"),
    (two_segmentations, InvalidInput, f"{FIRST}.stages", "STAGE_REPEATED"),
    (set_stage(), InvalidInput, f"{SECOND}.stages[0]", "STAGE_EMPTY"),
    (set_stage(reconstruct=""), InvalidInput, f"{SECOND}.stages[0].reconstruct", "INVALID_INPUT"),
    (
        set_stage(classify="chest", sampling=audit_pb2.Sampling(steps=5)),
        InvalidInput,
        f"{SECOND}.stages[0].sampling",
        "MODEL_DOES_NOT_SAMPLE",
    ),
    (
        set_stage(degrade=audit_pb2.Degradation(preset="mri-8x"), sampling=audit_pb2.Sampling(seed=5)),
        InvalidInput,
        f"{SECOND}.stages[0].sampling",
        "MODEL_DOES_NOT_SAMPLE",
    ),
    (
        set_stage(reconstruct="irsde", sampling=audit_pb2.Sampling(steps=-1)),
        OutOfRange,
        f"{SECOND}.stages[0].sampling.steps",
        "VALUE_OUT_OF_RANGE",
    ),
    (set_stage(reconstruct="@1"), InvalidInput, f"{SECOND}.stages[0].reconstruct", "INVALID_INPUT"),
    (set_stage(reconstruct="unet@"), InvalidInput, f"{SECOND}.stages[0].reconstruct", "NAME_MALFORMED"),
    (set_stage(classify="chest@latest"), InvalidInput, f"{SECOND}.stages[0].classify", "NAME_MALFORMED"),
    (set_stage(segment="tumour@1@2"), InvalidInput, f"{SECOND}.stages[0].segment", "NAME_MALFORMED"),
    (degrade(operator="blur"), InvalidInput, f"{SECOND}.stages[0].degrade.operator", "OPERATOR_UNKNOWN"),
    (degrade(preset="mri-6x"), InvalidInput, f"{SECOND}.stages[0].degrade.preset", "PRESET_UNKNOWN"),
    (
        degrade(preset="mri-8x", operator="radial-kspace"),
        InvalidInput,
        f"{SECOND}.stages[0].degrade.operator",
        "INVALID_INPUT",
    ),
    (
        degrade(preset="mri-8x", acceleration=8),
        InvalidInput,
        f"{SECOND}.stages[0].degrade.acceleration",
        "INVALID_INPUT",
    ),
    (degrade(preset="mri-8x", bowtie=True), InvalidInput, f"{SECOND}.stages[0].degrade.bowtie", "INVALID_INPUT"),
    (
        degrade(operator="radial-kspace", acceleration=8, angles="spiral"),
        InvalidInput,
        f"{SECOND}.stages[0].degrade.angles",
        "INVALID_INPUT",
    ),
    (
        degrade(preset="xray-low-dose", noise_model="gaussian"),
        InvalidInput,
        f"{SECOND}.stages[0].degrade.noise_model",
        "INVALID_INPUT",
    ),
    (
        degrade(preset="xray-low-dose", bowtie=True, published_bowtie=True),
        InvalidInput,
        f"{SECOND}.stages[0].degrade.bowtie",
        "INVALID_INPUT",
    ),
    (degrade(operator="low-dose-xray"), OutOfRange, f"{SECOND}.stages[0].degrade.photons", "VALUE_OUT_OF_RANGE"),
    (
        degrade(operator="low-dose-xray", photons=-1),
        OutOfRange,
        f"{SECOND}.stages[0].degrade.photons",
        "VALUE_OUT_OF_RANGE",
    ),
    (
        degrade(operator="low-dose-xray", photons=float("nan")),
        OutOfRange,
        f"{SECOND}.stages[0].degrade.photons",
        "VALUE_OUT_OF_RANGE",
    ),
    (
        degrade(operator="low-dose-xray", photons=100, acceleration=4),
        InvalidInput,
        f"{SECOND}.stages[0].degrade.acceleration",
        "INVALID_INPUT",
    ),
    (
        degrade(operator="radial-kspace", acceleration=5),
        OutOfRange,
        f"{SECOND}.stages[0].degrade.acceleration",
        "VALUE_OUT_OF_RANGE",
    ),
    (
        degrade(operator="radial-kspace", acceleration=4, photons=1),
        InvalidInput,
        f"{SECOND}.stages[0].degrade.photons",
        "INVALID_INPUT",
    ),
    (assign(baseline="nobody"), InvalidInput, "spec.baseline", "BASELINE_UNKNOWN"),
    (assign(cohort="audits/one"), InvalidInput, "spec.cohort", "NAME_MALFORMED"),
    (assign(cohort="cohorts/"), InvalidInput, "spec.cohort", "NAME_MALFORMED"),
    (assign(cohort="cohorts/a\0"), InvalidInput, "spec.cohort", "CONTROL_CHARACTER"),
    (assign(attributes=[]), InvalidInput, "spec.attributes", "ATTRIBUTES_EMPTY"),
    (assign(attributes=["sex", "sex,sex"]), InvalidInput, "spec.attributes[1]", "ATTRIBUTE_MALFORMED"),
    (assign(attributes=["sex,age,race"]), InvalidInput, "spec.attributes[0]", "ATTRIBUTE_MALFORMED"),
    (assign(attributes=["sex,"]), InvalidInput, "spec.attributes[0]", "ATTRIBUTE_MALFORMED"),
    (assign(attributes=["sex", " sex"]), InvalidInput, "spec.attributes[1]", "NAMED_TWICE"),
    (assign(labels=["Edema", "Edema"]), InvalidInput, "spec.labels[1]", "NAMED_TWICE"),
    (assign(seed=-1), OutOfRange, "spec.seed", "VALUE_OUT_OF_RANGE"),
    (assign(quality_metrics=["psnr", "ssim"]), InvalidInput, "spec.quality_metrics[1]", "METRIC_UNKNOWN"),
    (assign(quality_metrics=["psnr", "perceptual"]), InvalidInput, "spec.quality_metrics[1]", "METRIC_UNKNOWN"),
    (assign(quality_metrics=["perceptual/A clip"]), InvalidInput, "spec.quality_metrics[0]", "METRIC_UNKNOWN"),
    (assign(quality_metrics=["psnr", "psnr"]), InvalidInput, "spec.quality_metrics[1]", "NAMED_TWICE"),
    (reference(sex_age_race="x"), InvalidInput, "spec.reference_groups[sex,age,race]", "ATTRIBUTE_MALFORMED"),
    (two_references, InvalidInput, "spec.reference_groups[sex]", "NAMED_TWICE"),
    (assign(min_patients=-1), OutOfRange, "spec.min_patients", "VALUE_OUT_OF_RANGE"),
    (assign(min_cases=-1), OutOfRange, "spec.min_cases", "VALUE_OUT_OF_RANGE"),
    (request_id("1"), InvalidInput, "request_id", "INVALID_INPUT"),
    (request_id(str(uuid.uuid1())), InvalidInput, "request_id", "INVALID_INPUT"),
    (request_id(uuid.uuid4().hex), InvalidInput, "request_id", "INVALID_INPUT"),
]


@pytest.mark.parametrize(("change", "kind", "field", "reason"), BAD, ids=[f"{row[2]} {row[3]}" for row in BAD])
def test_a_broken_rule_names_its_field(change: Change, kind: type[ServiceError], field: str, reason: str) -> None:
    message = good_request()
    change(message)
    with pytest.raises(kind) as caught:
        wire.audit_request(message)
    assert (type(caught.value), caught.value.field, caught.value.reason) == (kind, field, reason)


def test_the_body_digest_ignores_the_request_id_and_nothing_else() -> None:
    first, second, other = good_request(), good_request(), good_request()
    other.spec.seed = 8
    digests = [wire.audit_request(message).body_digest for message in (first, second, other)]
    assert first.request_id != second.request_id
    assert digests[0] == digests[1] != digests[2]
