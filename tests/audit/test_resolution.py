"""Requests that keep their own rules, against cohorts and models that they fit or do not fit."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from services.audit.pipeline import (
    AuditSpec,
    Degrade,
    ModelStage,
    Pipeline,
    Sampling,
    ThresholdRecord,
    UseModel,
    plan_digest,
    plan_from_dict,
)
from services.audit.resolution import resolve
from services.errors import (
    FailedPrecondition,
    InvalidInput,
    NotFound,
    OutOfRange,
    ServiceError,
    UnknownAttribute,
    UnknownLabel,
)
from services.maths.imaging.kspace import mask_for, sampled_fraction
from tests.packages import IR_SDE

PIXELS = {"channels": 1, "height": 32, "width": 32, "low": 0.0, "high": 1.0}


def model(name: str, task: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "version": "1",
        "task": task,
        "digest": f"digest of {name}",
        "input": PIXELS,
        "output": None,
        "labels": [],
        "label_column": "",
        "thresholds": {},
        "degradation": None,
        **fields,
    }


CATALOGUE = [
    model("chest", "classification", labels=["Edema", "Fracture", "Nodule"], thresholds={"Fracture": 0.25}),
    model("sex", "attribute-classification", labels=["Female", "Male"], label_column="sex"),
    model("age", "attribute-classification", labels=["ancient"], label_column="age"),
    model("unet", "reconstruction", output=PIXELS, degradation={"operator": "low-dose-xray"}),
    model("larger", "reconstruction", output={**PIXELS, "height": 64, "width": 64}),
    model("tumour", "segmentation", labels=["tumour"]),
    model("organs", "segmentation", labels=["liver", "spleen"]),
    model("wide", "classification", labels=["Edema"], input={**PIXELS, "width": 48}),
    model("odd", "classification", labels=["Edema"], input={**PIXELS, "height": 33, "width": 33}),
]

MANIFEST = {
    "digest": "c0",
    "records": 100,
    "patients": 60,
    "has_masks": True,
    "attributes": [
        {"name": "sex", "levels": [{"level": "Female", "patients": 30}, {"level": "Male", "patients": 30}]},
        {"name": "age", "levels": [{"level": "young", "patients": 57}, {"level": "old", "patients": 3}]},
    ],
    "labels": [
        {"name": "Edema", "positives": 20, "negatives": 80},
        {"name": "Fracture", "positives": 0, "negatives": 100},
    ],
}


def spec(*stages: Degrade | UseModel, **fields: Any) -> AuditSpec:
    chosen = {
        "cohort": "cohorts/one",
        "pipelines": (Pipeline("only", stages or (UseModel("classify", "chest"),)),),
        "baseline": "only",
        "attributes": ("sex",),
        "labels": (),
        "seed": 1,
        "min_patients": 10,
        "min_cases": 5,
    }
    return AuditSpec(**{**chosen, **fields})


def only_model(asked: AuditSpec, catalogue: list[dict[str, Any]] = CATALOGUE, place: int = 0) -> ModelStage:
    stage = resolve(asked, MANIFEST, catalogue, batch_size=32).pipelines[0].stages[place]
    assert isinstance(stage, ModelStage)
    return stage


def vouched(**source: Any) -> list[dict[str, Any]]:
    """The catalogue with a chest classifier that says where its thresholds came from."""
    return [{**CATALOGUE[0], "threshold_source": source}, *CATALOGUE[1:]]


LOW_DOSE = Degrade({"operator": "low-dose-xray", "photons": 1000.0})
RADIAL = Degrade({"operator": "radial-kspace", "acceleration": 8})


def test_labels_default_to_those_that_model_and_cohort_share() -> None:
    stage = only_model(spec())
    assert (stage.labels, stage.columns, stage.thresholds) == (("Edema", "Fracture"), (0, 1), (None, 0.25))


def test_labels_asked_for_are_picked_out_of_the_models_columns() -> None:
    stage = only_model(spec(labels=("Fracture",)))
    assert (stage.labels, stage.columns) == (("Fracture",), (1,))


def test_the_highest_version_is_pinned() -> None:
    newer = [*CATALOGUE, {**CATALOGUE[0], "version": "10", "digest": "new"}, {**CATALOGUE[0], "version": "9"}]
    stage = only_model(spec(), newer)
    assert (stage.version, stage.digest) == ("10", "new")


NEWER = [*CATALOGUE, {**CATALOGUE[0], "version": "10", "digest": "new", "labels": ["Edema"], "thresholds": {}}]


def test_a_version_that_is_asked_for_is_pinned_and_counts() -> None:
    first, second = (only_model(spec(UseModel("classify", "chest", version)), NEWER) for version in ("1", "10"))
    assert (first.version, first.digest, first.labels) == ("1", "digest of chest", ("Edema", "Fracture"))
    assert (second.version, second.digest, second.labels) == ("10", "new", ("Edema",))
    plans = [
        resolve(spec(UseModel("classify", "chest", version)), MANIFEST, NEWER, batch_size=32)
        for version in ("1", "10", "")
    ]
    assert plans[0].digest != plans[1].digest == plans[2].digest
    assert plans[0].digest == resolve(spec(), MANIFEST, CATALOGUE, batch_size=32).digest


def test_a_version_that_is_not_served_is_refused_by_naming_those_that_are() -> None:
    with pytest.raises(NotFound, match="no version 2 of 'chest' is served; there are 1, 10") as caught:
        resolve(spec(UseModel("classify", "chest", "2")), MANIFEST, NEWER, batch_size=32)
    assert (caught.value.field, caught.value.reason) == (
        "spec.pipelines[0].stages[0].classify",
        "MODEL_NOT_FOUND",
    )


def test_only_the_version_asked_for_says_which_labels_can_be_audited() -> None:
    asked = spec(UseModel("classify", "chest", "10"), labels=("Fracture",))
    with pytest.raises(UnknownLabel) as caught:
        resolve(asked, MANIFEST, NEWER, batch_size=32)
    assert caught.value.field == "spec.labels[0]"


SAMPLED = [*CATALOGUE, model("irsde", "reconstruction", output=PIXELS, restoration=IR_SDE)]


def sampled(*asked: Any, name: str = "irsde", **more: Any) -> AuditSpec:
    return spec(UseModel("reconstruct", name, sampling=Sampling(*asked, **more)), UseModel("classify", "chest"))


def test_what_was_not_said_of_the_sampling_is_as_the_model_states() -> None:
    assert only_model(sampled("ode"), SAMPLED).sampling == Sampling("ode", 6, 3)
    assert only_model(sampled(steps=20), SAMPLED).sampling == Sampling("posterior", 20, 3)
    assert only_model(sampled(seed=0), SAMPLED).sampling == Sampling("posterior", 6, 0)
    plans = [resolve(sampled(*asked), MANIFEST, SAMPLED, batch_size=32) for asked in [("ode",), ("sde",), ("ode", 7)]]
    assert len({plan.digest for plan in plans}) == 3
    assert all(plan_from_dict(plan.to_dict()) == plan for plan in plans)


@pytest.mark.parametrize(
    ("asked", "kind", "field", "reason"),
    [
        (sampled("ddim"), InvalidInput, ".sampler", "SAMPLER_UNKNOWN"),
        (sampled(steps=4), OutOfRange, ".steps", "VALUE_OUT_OF_RANGE"),
        (sampled(steps=101), OutOfRange, ".steps", "VALUE_OUT_OF_RANGE"),
        (sampled(seed=-1), OutOfRange, ".seed", "VALUE_OUT_OF_RANGE"),
        (sampled(seed=0, name="unet"), InvalidInput, "", "MODEL_DOES_NOT_SAMPLE"),
    ],
)
def test_a_sampling_that_the_model_cannot_do_names_its_field(
    asked: AuditSpec, kind: type[ServiceError], field: str, reason: str
) -> None:
    with pytest.raises(kind) as caught:
        resolve(asked, MANIFEST, SAMPLED, batch_size=32)
    assert (caught.value.field, caught.value.reason) == (f"spec.pipelines[0].stages[0].sampling{field}", reason)


def test_plans_that_say_nothing_of_sampling_keep_the_digest_that_they_always_had() -> None:
    stages = (LOW_DOSE, UseModel("reconstruct", "unet"), UseModel("classify", "chest"), UseModel("segment", "tumour"))
    plan = resolve(spec(*stages), MANIFEST, CATALOGUE, batch_size=32)
    assert plan.digest == "946e094a00f472c4d88ece3489dae79d5e11cd1e4d8d954f080799fdce4ae2ca"  # of 2026-11


def test_a_plan_of_an_older_platform_is_read_with_the_rules_of_its_time() -> None:
    plain = resolve(spec(), MANIFEST, CATALOGUE, batch_size=32).to_dict()
    for name in ("reference_groups", "quality_metrics", "allow_test_thresholds", "thresholds", "perceptual"):
        del plain[name]
    assert plan_from_dict(plain).quality_metrics == ("psnr", "ssim_gaussian11")


def test_a_plan_survives_being_stored() -> None:
    stages = (LOW_DOSE, UseModel("reconstruct", "unet"), UseModel("classify", "sex"), UseModel("segment", "tumour"))
    asked = spec(*stages, reference_groups={"sex": "Male"}, quality_metrics=("psnr", "lpips_alex"))
    plan = resolve(asked, MANIFEST, CATALOGUE, batch_size=32, perceptual={"lpips_alex": "a0"})
    assert plan_from_dict(plan.to_dict()) == plan
    assert only_model(spec(*stages), place=2).attribute == "sex"
    assert only_model(spec(*stages), place=3).thresholds == (0.5,)


BAD = [
    (spec(UseModel("classify", "nobody")), NotFound, "spec.pipelines[0].stages[0].classify", "MODEL_NOT_FOUND"),
    (spec(UseModel("classify", "unet")), InvalidInput, "spec.pipelines[0].stages[0].classify", "TASK_MISMATCH"),
    (
        spec(UseModel("reconstruct", "chest"), UseModel("classify", "chest")),
        InvalidInput,
        "spec.pipelines[0].stages[0].reconstruct",
        "TASK_MISMATCH",
    ),
    (spec(UseModel("segment", "chest")), InvalidInput, "spec.pipelines[0].stages[0].segment", "TASK_MISMATCH"),
    (spec(UseModel("segment", "organs")), InvalidInput, "spec.pipelines[0].stages[0].segment", "SEVERAL_STRUCTURES"),
    (
        spec(UseModel("reconstruct", "larger"), UseModel("classify", "chest")),
        InvalidInput,
        "spec.pipelines[0].stages[0].reconstruct",
        "SIZE_CHANGES",
    ),
    (spec(attributes=("sex", "sex,bmi")), UnknownAttribute, "spec.attributes[1]", "ATTRIBUTE_NOT_IN_COHORT"),
    (spec(labels=("Edema", "Gout")), UnknownLabel, "spec.labels[1]", "LABEL_NOT_IN_SCHEMA"),
    (spec(UseModel("classify", "sex"), labels=("Edema",)), UnknownLabel, "spec.labels[0]", "LABEL_NOT_IN_SCHEMA"),
    (
        spec(UseModel("classify", "age")),
        UnknownLabel,
        "spec.pipelines[0].stages[0].classify",
        "LABEL_NOT_IN_SCHEMA",
    ),
    (
        spec(UseModel("classify", "chest"), UseModel("classify", "chest")),
        InvalidInput,
        "spec.pipelines[0].stages",
        "LABEL_READ_TWICE",
    ),
    (spec(LOW_DOSE, UseModel("classify", "wide")), InvalidInput, "spec.pipelines[0].stages", "INVALID_INPUT"),
    (spec(RADIAL, UseModel("classify", "odd")), InvalidInput, "spec.pipelines[0].stages", "INVALID_INPUT"),
    (
        spec(reference_groups={"age": "old"}),
        UnknownAttribute,
        "spec.reference_groups[age]",
        "ATTRIBUTE_NOT_IN_COHORT",
    ),
    (spec(reference_groups={"sex": "male"}), InvalidInput, "spec.reference_groups[sex]", "GROUP_UNKNOWN"),
    (
        spec(attributes=("sex,age",), reference_groups={"sex,age": "old, Male"}),
        InvalidInput,
        "spec.reference_groups[sex,age]",
        "GROUP_UNKNOWN",
    ),
]


@pytest.mark.parametrize(("asked", "kind", "field", "reason"), BAD, ids=[f"{row[2]} {row[3]}" for row in BAD])
def test_what_does_not_fit_names_its_field(asked: AuditSpec, kind: type[ServiceError], field: str, reason: str) -> None:
    with pytest.raises(ServiceError) as caught:
        resolve(asked, MANIFEST, CATALOGUE, batch_size=32)
    assert (type(caught.value), caught.value.field, caught.value.reason) == (kind, field, reason)


def test_segmentation_needs_masks() -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(spec(UseModel("segment", "tumour")), {**MANIFEST, "has_masks": False}, CATALOGUE, batch_size=32)
    assert caught.value.reason == "COHORT_WITHOUT_MASKS"


def test_a_cohort_without_any_label_of_the_model_is_refused() -> None:
    with pytest.raises(UnknownLabel):
        resolve(spec(), {**MANIFEST, "labels": []}, CATALOGUE, batch_size=32)


def test_what_cannot_be_estimated_is_a_warning_and_no_error() -> None:
    plan = resolve(spec(attributes=("sex,age",)), MANIFEST, vouched(split="validation"), batch_size=32)
    assert plan.warnings == ("label Fracture has no positives: its AUROC and one of its rates are undefined",)


def test_a_reconstruction_trained_for_something_else_is_a_warning() -> None:
    radial = Degrade({"operator": "radial-kspace", "acceleration": 4})
    stages = (UseModel("reconstruct", "unet"), UseModel("classify", "sex"))
    assert resolve(spec(LOW_DOSE, *stages), MANIFEST, CATALOGUE, batch_size=32).warnings == ()
    assert len(resolve(spec(radial, *stages), MANIFEST, CATALOGUE, batch_size=32).warnings) == 1
    assert len(resolve(spec(*stages), MANIFEST, CATALOGUE, batch_size=32).warnings) == 1


def test_the_plan_says_what_each_degradation_does_at_its_size() -> None:
    reading = UseModel("classify", "sex")
    pipelines = (
        Pipeline("full", (reading,)),
        Pipeline("fast", (RADIAL, reading)),
        Pipeline("dim", (LOW_DOSE, reading)),
    )
    plan = resolve(spec(pipelines=pipelines, baseline="full"), MANIFEST, CATALOGUE, batch_size=32)
    fast, dim = plan.acquisitions
    share = 100 * sampled_fraction(mask_for(PIXELS["height"], 8))
    assert fast.startswith("fast: ") and f"{share:.2f} % of the frequencies" in fast
    assert dim.startswith("dim: ") and "1000 photons" in dim
    assert plan_digest(replace(plan, acquisitions=())) == plan.digest  # it follows from the rest


def test_the_digest_covers_what_decides_the_numbers() -> None:
    asked = spec(LOW_DOSE, UseModel("reconstruct", "unet"), UseModel("classify", "chest"))
    reference = resolve(asked, MANIFEST, CATALOGUE, batch_size=32).digest
    retrained = copy.deepcopy(CATALOGUE)
    retrained[0]["digest"] = "other weights"
    louder = replace(
        asked.pipelines[0], stages=(Degrade({**LOW_DOSE.parameters, "photons": 5.0}), *asked.pipelines[0].stages[1:])
    )
    others = [
        resolve(replace(asked, seed=2), MANIFEST, CATALOGUE, batch_size=32),
        resolve(replace(asked, attributes=("age",)), MANIFEST, CATALOGUE, batch_size=32),
        resolve(replace(asked, labels=("Edema",)), MANIFEST, CATALOGUE, batch_size=32),
        resolve(replace(asked, min_cases=6), MANIFEST, CATALOGUE, batch_size=32),
        resolve(replace(asked, pipelines=(louder,)), MANIFEST, CATALOGUE, batch_size=32),
        resolve(asked, {**MANIFEST, "digest": "c1"}, CATALOGUE, batch_size=32),
        resolve(asked, MANIFEST, retrained, batch_size=32),
        resolve(asked, MANIFEST, CATALOGUE, batch_size=16),
        resolve(replace(asked, reference_groups={"sex": "Male"}), MANIFEST, CATALOGUE, batch_size=32),
        resolve(replace(asked, quality_metrics=("psnr",)), MANIFEST, CATALOGUE, batch_size=32),
        resolve(asked, MANIFEST, CATALOGUE, batch_size=32, perceptual={"lpips_alex": "a0"}),
        resolve(asked, MANIFEST, vouched(split="validation"), batch_size=32),
    ]
    assert len({reference, *(plan.digest for plan in others)}) == len(others) + 1


def test_the_digest_ignores_the_cohorts_name() -> None:
    named = [spec(cohort=f"cohorts/{name}") for name in ("one", "two")]
    first, second = (resolve(asked, MANIFEST, CATALOGUE, batch_size=32).digest for asked in named)
    assert first == second


UNFIT = [
    ({"split": "test"}, "test data"),
    ({"split": "validation", "cohort": "c0"}, "the very cohort"),
    ({"split": "test", "cohort": "c0", "patients": 5}, "the very cohort"),
]


@pytest.mark.parametrize(("source", "said"), UNFIT, ids=str)
def test_thresholds_fitted_on_what_they_are_judged_on_are_refused_unless_allowed(
    source: dict[str, Any], said: str
) -> None:
    asked = spec(UseModel("classify", "chest"))
    with pytest.raises(FailedPrecondition, match=said) as caught:
        resolve(asked, MANIFEST, vouched(**source), batch_size=32)
    assert caught.value.reason == "THRESHOLDS_FITTED_ON_TEST"
    assert caught.value.field == "spec.pipelines[0].stages[0].classify"
    plan = resolve(replace(asked, allow_test_thresholds=True), MANIFEST, vouched(**source), batch_size=32)
    assert [(record.label, record.fitted_on_audited) for record in plan.thresholds] == [("Fracture", True)]
    assert any("fitted on test data or on this cohort" in warning for warning in plan.warnings)


def test_thresholds_of_a_validation_split_are_named_and_no_warning() -> None:
    source = {"split": "validation", "cohort": "b" * 64, "patients": 600}
    plan = resolve(spec(labels=("Fracture",)), MANIFEST, vouched(**source), batch_size=32)
    assert plan.thresholds == (
        ThresholdRecord("only", "Fracture", 0.25, "validation split, cohort bbbbbbbbbbbb, 600 patients", False),
    )
    assert not any("threshold" in warning for warning in plan.warnings)


def test_thresholds_of_unknown_origin_are_a_warning() -> None:
    plan = resolve(spec(), MANIFEST, CATALOGUE, batch_size=32)
    assert [(record.label, record.source) for record in plan.thresholds] == [("Fracture", "unknown")]
    assert sum("nobody says on which data" in warning for warning in plan.warnings) == 1


def test_a_model_without_thresholds_has_nothing_to_refuse_or_to_name() -> None:
    catalogue = [{**model("sex", "attribute-classification", labels=["Female", "Male"], label_column="sex")}]
    catalogue[0]["threshold_source"] = {"split": "test"}
    plan = resolve(spec(UseModel("classify", "sex")), MANIFEST, catalogue, batch_size=32)
    assert (plan.thresholds, plan.warnings) == ((), ())


def test_a_segmenters_own_rule_of_one_half_was_fitted_on_nothing() -> None:
    plan = resolve(spec(UseModel("segment", "tumour")), MANIFEST, CATALOGUE, batch_size=32)
    assert plan.thresholds == (ThresholdRecord("only", "tumour", 0.5, "fixed at 0.5, not fitted", False),)
    assert plan.warnings == ()
