"""From a checked request to a plan: does it fit this cohort and the models that are served now?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from services.adapters.restoration import read_restoration
from services.audit.pipeline import (
    AuditSpec,
    Degrade,
    ModelStage,
    ModelStageKind,
    Pipeline,
    ResolvedAudit,
    ResolvedPipeline,
    Sampling,
    UseModel,
    plan_digest,
)
from services.audit.results.attributes import group_specs
from services.audit.thresholds import doubtful_thresholds, threshold_records
from services.errors import InvalidInput, NotFound, UnknownAttribute, UnknownLabel
from services.hosting.sampled import asked_as
from services.maths.imaging.degradation import check_size, describe
from services.maths.pixels import PixelSpec

TASKS_OF_STAGE: dict[str, tuple[str, ...]] = {
    "reconstruct": ("reconstruction",),
    "classify": ("classification", "attribute-classification"),
    "segment": ("segmentation",),
}
MASK_THRESHOLD = 0.5  # of a segmenter whose model.yaml states none


@dataclass(frozen=True)
class _Offer:
    """What the request can draw on. ``levels``: attribute → its levels; ``labels``: the cohort's, in its order."""

    manifest: Mapping[str, Any]
    catalogue: Sequence[Mapping[str, Any]]
    levels: dict[str, tuple[str, ...]]
    labels: tuple[str, ...]


def resolve(
    spec: AuditSpec,
    manifest: Mapping[str, Any],
    catalogue: Sequence[Mapping[str, Any]],
    *,
    batch_size: int,
    perceptual: Mapping[str, str] | None = None,
) -> ResolvedAudit:
    """Fit a checked request to one cohort's manifest and the models being served.

    ``perceptual`` holds the digests of the networks that the quality metrics need. Raises NotFound for an unknown
    model, UnknownAttribute, UnknownLabel, InvalidInput for stages that do not fit, and FailedPrecondition for
    thresholds that were fitted on what they would be judged on, each with the path of the field. What merely cannot be
    estimated (a label without negatives, an empty group) is no error: it becomes a warning and a stated cell state in
    the report.
    """
    offer = _Offer(
        manifest,
        catalogue,
        {entry["name"]: tuple(level["level"] for level in entry["levels"]) for entry in manifest["attributes"]},
        tuple(label["name"] for label in manifest["labels"]),
    )
    _check_attributes(spec, offer)
    _check_reference_groups(spec, offer)
    _check_labels(spec, offer)
    pipelines = tuple(
        _pipeline(pipeline, f"spec.pipelines[{index}]", spec.labels, offer)
        for index, pipeline in enumerate(spec.pipelines)
    )
    plan = ResolvedAudit(
        cohort=spec.cohort,
        cohort_digest=manifest["digest"],
        records=manifest["records"],
        patients=manifest["patients"],
        pipelines=pipelines,
        baseline=spec.baseline,
        attributes=spec.attributes,
        levels=offer.levels,
        seed=spec.seed,
        min_patients=spec.min_patients,
        min_cases=spec.min_cases,
        reference_groups=spec.reference_groups,
        quality_metrics=spec.quality_metrics,
        allow_test_thresholds=spec.allow_test_thresholds,
        thresholds=tuple(
            threshold_records(
                pipelines, catalogue, cohort_digest=manifest["digest"], allow_test=spec.allow_test_thresholds
            )
        ),
        perceptual=dict(perceptual or {}),
        batch_size=batch_size,
        acquisitions=tuple(_acquisitions(pipelines)),
    )
    return replace(plan, digest=plan_digest(plan), warnings=tuple(_warnings(plan, offer)))


def _check_attributes(spec: AuditSpec, offer: _Offer) -> None:
    for index, grouping in enumerate(spec.attributes):
        for name in grouping.split(","):
            if name not in offer.levels:
                raise UnknownAttribute(
                    f"the cohort has no attribute {name!r}; it has {_listed(offer.levels)}",
                    field=f"spec.attributes[{index}]",
                )


def _check_reference_groups(spec: AuditSpec, offer: _Offer) -> None:
    groups = {known.name: known.groups for known in group_specs(spec.attributes, offer.levels)}
    for attribute, group in spec.reference_groups.items():
        at = f"spec.reference_groups[{attribute}]"
        if attribute not in groups:
            raise UnknownAttribute(
                f"{attribute!r} is not among the audit's attributes; these are {'; '.join(groups)}", field=at
            )
        if group not in groups[attribute]:
            raise InvalidInput(
                f"{attribute} has no group {group!r}; it has {'; '.join(groups[attribute])}",
                field=at,
                reason="GROUP_UNKNOWN",
            )


def _check_labels(spec: AuditSpec, offer: _Offer) -> None:
    stages = [stage for pipeline in spec.pipelines for stage in pipeline.stages if isinstance(stage, UseModel)]
    read = {
        label
        for stage in stages
        for model in _served(stage, offer)
        if model["task"] == "classification"
        for label in model["labels"]
    }
    for index, label in enumerate(spec.labels):
        where = f"spec.labels[{index}]"
        if label not in offer.labels:
            raise UnknownLabel(f"the cohort has no label {label!r}; it has {_listed(offer.labels)}", field=where)
        if label not in read:
            raise UnknownLabel(f"no classifier of this audit reads {label!r}; they read {_listed(read)}", field=where)


def _pipeline(pipeline: Pipeline, where: str, labels: Sequence[str], offer: _Offer) -> ResolvedPipeline:
    stages = tuple(
        stage if isinstance(stage, Degrade) else _model_stage(stage, f"{where}.stages[{index}]", labels, offer)
        for index, stage in enumerate(pipeline.stages)
    )
    models = [stage for stage in stages if isinstance(stage, ModelStage)]
    _check_unique_labels(models, where)
    _, height, width = models[0].input.shape
    for stage in stages:
        if isinstance(stage, Degrade):
            _check_degradable(stage, models[0], f"{where}.stages")
    return ResolvedPipeline(pipeline.name, height, width, stages)


def _check_degradable(stage: Degrade, first: ModelStage, at: str) -> None:
    """Images are degraded at the size of the pipeline's first model."""
    _, height, width = first.input.shape
    if height != width:
        raise InvalidInput(f"degradations need square images; {first.model} takes {height} x {width}", field=at)
    try:
        check_size(height, stage.parameters["operator"])
    except ValueError as error:
        raise InvalidInput(f"{first.model} takes {height} x {width}: {error}", field=at) from error


def _acquisitions(pipelines: Iterable[ResolvedPipeline]) -> Iterable[str]:
    for pipeline in pipelines:
        for stage in pipeline.stages:
            if isinstance(stage, Degrade):
                yield f"{pipeline.name}: {describe(pipeline.height, **stage.parameters)}"


def _model_stage(stage: UseModel, where: str, labels: Sequence[str], offer: _Offer) -> ModelStage:
    at = f"{where}.{stage.kind}"
    model = _find(stage, at, offer)
    if model["task"] == "attribute-classification":
        return _attribute_classifier(model, at, offer)
    if stage.kind == "classify":
        return _classifier(model, at, labels, offer)
    if stage.kind == "segment":
        return _segmenter(model, at, offer)
    return replace(_reconstructor(model, at), sampling=_sampling(stage, model, f"{where}.sampling"))


def _sampling(stage: UseModel, model: Mapping[str, Any], at: str) -> Sampling | None:
    """What was asked for, completed by the model's own choices; its host will be asked for exactly that."""
    if stage.sampling is None:
        return None
    asked = {name: value for name, value in asdict(stage.sampling).items() if value is not None}
    found = asked_as(stage.model, read_restoration(model.get("restoration") or {}), asked, at)
    if found is None:
        raise InvalidInput(
            f"{stage.model} answers in one pass and does not sample; leave sampling out",
            field=at,
            reason="MODEL_DOES_NOT_SAMPLE",
        )
    return Sampling(found.sampler, found.steps, found.seed)


def _find(stage: UseModel, at: str, offer: _Offer) -> Mapping[str, Any]:
    """The served model, if its task fits the stage: the version asked for, or the highest."""
    versions = _served(stage, offer)
    if not versions:
        raise NotFound(_not_served(stage, offer), field=at, reason="MODEL_NOT_FOUND")
    model = max(versions, key=lambda version: int(version["version"]))
    if model["task"] not in TASKS_OF_STAGE[stage.kind]:
        wanted = " or ".join(TASKS_OF_STAGE[stage.kind])
        raise InvalidInput(
            f"{stage.model} does {model['task']}; a {stage.kind} stage needs {wanted}", field=at, reason="TASK_MISMATCH"
        )
    return model


def _served(stage: UseModel, offer: _Offer) -> list[Mapping[str, Any]]:
    """The versions that the stage may mean."""
    named = [model for model in offer.catalogue if model["name"] == stage.model]
    return [model for model in named if stage.version in ("", model["version"])]


def _not_served(stage: UseModel, offer: _Offer) -> str:
    versions = sorted((model["version"] for model in offer.catalogue if model["name"] == stage.model), key=int)
    if versions:
        return f"no version {stage.version} of {stage.model!r} is served; there are {', '.join(versions)}"
    return f"no model {stage.model!r} is served; there are {_listed({model['name'] for model in offer.catalogue})}"


def _pinned(kind: ModelStageKind, model: Mapping[str, Any], labels: Sequence[str] = (), **more: Any) -> ModelStage:
    """The stage of one model, reading ``labels`` out of the model's columns."""
    return ModelStage(
        kind=kind,
        model=model["name"],
        version=model["version"],
        digest=model["digest"],
        task=model["task"],
        input=PixelSpec(**model["input"]),
        output=PixelSpec(**model["output"]) if model.get("output") else None,
        labels=tuple(labels),
        columns=tuple(list(model["labels"]).index(label) for label in labels),
        thresholds=tuple(model["thresholds"].get(label) for label in labels),
        **more,
    )


def _reconstructor(model: Mapping[str, Any], at: str) -> ModelStage:
    stage = _pinned("reconstruct", model)
    if stage.output is None or stage.output.shape[1:] != stage.input.shape[1:]:
        raise InvalidInput(
            f"{stage.model} changes the image's size, so it cannot be compared with the original",
            field=at,
            reason="SIZE_CHANGES",
        )
    return stage


def _segmenter(model: Mapping[str, Any], at: str, offer: _Offer) -> ModelStage:
    if not offer.manifest["has_masks"]:
        raise InvalidInput(
            "a segment stage needs a mask for every record of the cohort", field=at, reason="COHORT_WITHOUT_MASKS"
        )
    if len(model["labels"]) != 1:
        raise InvalidInput(
            f"{model['name']} draws {len(model['labels'])} structures; audits compare masks of one",
            field=at,
            reason="SEVERAL_STRUCTURES",
        )
    stage = _pinned("segment", model, model["labels"])
    return replace(stage, thresholds=(MASK_THRESHOLD if stage.thresholds[0] is None else stage.thresholds[0],))


def _classifier(model: Mapping[str, Any], at: str, labels: Sequence[str], offer: _Offer) -> ModelStage:
    chosen = [label for label in model["labels"] if label in (labels or offer.labels)]
    if not chosen:
        raise UnknownLabel(
            f"{model['name']} reads none of the labels to audit; it reads {_listed(model['labels'])}, "
            f"to audit are {_listed(labels or offer.labels)}",
            field=at,
        )
    return _pinned("classify", model, chosen)


def _attribute_classifier(model: Mapping[str, Any], at: str, offer: _Offer) -> ModelStage:
    attribute = model["label_column"]
    if attribute not in offer.levels:
        raise UnknownAttribute(
            f"{model['name']} reads the attribute {attribute!r}; the cohort has {_listed(offer.levels)}", field=at
        )
    strange = [level for level in model["labels"] if level not in offer.levels[attribute]]
    if strange:
        raise UnknownLabel(
            f"{model['name']} reads {_listed(strange)}; the cohort's levels of {attribute} are "
            f"{_listed(offer.levels[attribute])}",
            field=at,
        )
    return _pinned("classify", model, model["labels"], attribute=attribute)


def _check_unique_labels(models: Sequence[ModelStage], where: str) -> None:
    """predictions.parquet has one row per record, pipeline and label, so a pipeline reads each label once."""
    seen: set[str] = set()
    for stage in models:
        if stage.kind != "classify":
            continue
        twice = seen & set(stage.labels)
        if twice:
            raise InvalidInput(
                f"two classifiers of this pipeline read {_listed(twice)}; give each a pipeline of its own",
                field=f"{where}.stages",
                reason="LABEL_READ_TWICE",
            )
        seen |= set(stage.labels)


def _warnings(plan: ResolvedAudit, offer: _Offer) -> list[str]:
    """What the request allows but the data or the models make doubtful, in a fixed order."""
    return [
        *_synthetic_cohort(offer),
        *_one_class_labels(plan, offer),
        *doubtful_thresholds(plan.thresholds),
        *_untrained_degradations(plan, offer),
    ]


def _synthetic_cohort(offer: _Offer) -> Iterable[str]:
    if synthetic := offer.manifest.get("synthetic"):
        yield (
            f"the cohort is synthetic: {synthetic['spec']['model']} drew its images, so this audit says how pipelines "
            "treat generated images, and nothing of patients"
        )


def _one_class_labels(plan: ResolvedAudit, offer: _Offer) -> Iterable[str]:
    stages = [stage for pipeline in plan.pipelines for stage in pipeline.stages if isinstance(stage, ModelStage)]
    read = {label for stage in stages if stage.task == "classification" for label in stage.labels}
    for label in offer.manifest["labels"]:
        for side in ("positives", "negatives"):
            if label["name"] in read and label[side] == 0:
                yield f"label {label['name']} has no {side}: its AUROC and one of its rates are undefined"


def _untrained_degradations(plan: ResolvedAudit, offer: _Offer) -> Iterable[str]:
    trained = {model["digest"]: (model.get("degradation") or {}).get("operator") for model in offer.catalogue}
    for pipeline in plan.pipelines:
        met = next((stage.parameters["operator"] for stage in pipeline.stages if isinstance(stage, Degrade)), "none")
        for stage in pipeline.stages:
            meant = trained.get(stage.digest) if isinstance(stage, ModelStage) else None
            if isinstance(stage, ModelStage) and meant and meant != met:
                yield f"pipeline {pipeline.name}: {stage.model} was trained for {meant}, its degradation here is {met}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
