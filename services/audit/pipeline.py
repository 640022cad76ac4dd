"""What an audit is: the request as checked, and the plan it resolves to against one cohort and the served models.

The plan holds everything that decides a row's bits: model digests, pixel specs, degradation parameters, seed, batch
size. Its digest names the audit's numbers: two audits with one digest must give one report.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from services.maths.canonical import digest
from services.maths.pixels import PixelSpec

ModelStageKind = Literal["reconstruct", "classify", "segment"]

QUALITY_METRICS = ("psnr", "ssim_gaussian11", "lpips_alex", "lpips_vgg")
"""Comparisons of a changed image with its original, in the order in which plans name them."""
DEFAULT_QUALITY_METRICS = ("psnr", "ssim_gaussian11")
PERCEPTUAL = "perceptual"
"""Named with an image encoder of the registry, "perceptual/phantom-clip": the distance in that encoder's features."""
_WITH_ENCODER = re.compile(f"{PERCEPTUAL}/([a-z0-9][a-z0-9-]{{0,62}})")


def encoder_of(metric: str) -> str:
    """The encoder's name in "perceptual/phantom-clip"; "" for anything else."""
    named = _WITH_ENCODER.fullmatch(metric)
    return named[1] if named else ""


@dataclass(frozen=True)
class Degrade:
    """A physical acquisition; ``parameters`` are the keyword arguments of ``degradation.degrade`` besides the seed."""

    parameters: dict[str, Any]
    kind: Literal["degrade"] = "degrade"


@dataclass(frozen=True)
class Sampling:
    """How a model samples; as asked for, "", 0 and None leave the choice to the model."""

    sampler: str = ""
    steps: int = 0
    seed: int | None = None


@dataclass(frozen=True)
class UseModel:
    """A model stage as asked for, by the model's name; without a version, the highest that is served."""

    kind: ModelStageKind
    model: str
    version: str = ""
    sampling: Sampling | None = None


@dataclass(frozen=True)
class Pipeline:
    name: str
    stages: tuple[Degrade | UseModel, ...]


@dataclass(frozen=True)
class AuditSpec:
    """A request whose own rules hold; nothing about cohort and models is known yet.

    ``attributes`` entries are one name or two joined by a comma: ``"sex"``, ``"sex,age"``. ``reference_groups`` maps
    some of them to one of their groups.
    """

    cohort: str
    pipelines: tuple[Pipeline, ...]
    baseline: str
    attributes: tuple[str, ...]
    labels: tuple[str, ...]
    seed: int
    min_patients: int
    min_cases: int
    reference_groups: dict[str, str] = field(default_factory=dict)
    quality_metrics: tuple[str, ...] = DEFAULT_QUALITY_METRICS
    allow_test_thresholds: bool = False


@dataclass(frozen=True)
class ModelStage:
    """One model of a pipeline, pinned by digest.

    ``labels`` are the names its rows get; ``columns`` and ``thresholds`` belong to them in order. ``attribute`` is
    set for attribute classification: the truth is then that attribute's level, not a label. ``sampling`` is set in
    full, or None for a model that does as its record says.
    """

    kind: ModelStageKind
    model: str
    version: str
    digest: str
    task: str
    input: PixelSpec
    output: PixelSpec | None = None
    labels: tuple[str, ...] = ()
    columns: tuple[int, ...] = ()
    thresholds: tuple[float | None, ...] = ()
    attribute: str = ""
    # Left out where it is None: the digest of a plan that never said it stays what it was.
    sampling: Annotated[Sampling | None, Field(exclude_if=lambda value: value is None)] = None


@dataclass(frozen=True)
class ResolvedPipeline:
    """``height`` x ``width`` is the size that images are brought to first: the first model's input."""

    name: str
    height: int
    width: int
    stages: tuple[Degrade | ModelStage, ...]


@dataclass(frozen=True)
class ThresholdRecord:
    """Where the threshold came from that a pipeline calls a label positive by.

    ``source`` is in words for the report. ``fitted_on_audited``: on test data or on the audited cohort itself.
    """

    pipeline: str
    label: str
    threshold: float
    source: str
    fitted_on_audited: bool


@dataclass(frozen=True)
class ResolvedAudit:
    """``perceptual`` has the digest of each network that the quality metrics need, LPIPS or an encoder, by the metric.

    ``acquisitions`` says in words what each pipeline's degradation does at its size, the exact share of k-space too.
    """

    cohort: str
    cohort_digest: str
    records: int
    patients: int
    pipelines: tuple[ResolvedPipeline, ...]
    baseline: str
    attributes: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]
    seed: int
    min_patients: int
    min_cases: int
    batch_size: int
    # Plans that were stored before these existed are read with what was then the rule.
    reference_groups: dict[str, str] = field(default_factory=dict)
    quality_metrics: tuple[str, ...] = DEFAULT_QUALITY_METRICS
    allow_test_thresholds: bool = False
    thresholds: tuple[ThresholdRecord, ...] = ()
    perceptual: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    warnings: tuple[str, ...] = field(default=())
    acquisitions: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        plain: dict[str, Any] = _PLAN.dump_python(self, mode="json")
        return plain


_PLAN = TypeAdapter(ResolvedAudit)
_NOT_DECISIVE = ("cohort", "digest", "warnings", "acquisitions")


def plan_digest(plan: ResolvedAudit) -> str:
    """sha256 over everything that decides a row or the report; the cohort counts by its digest, not by its name."""
    return digest(plan.to_dict(), without=_NOT_DECISIVE)


def plan_from_dict(plain: Mapping[str, Any]) -> ResolvedAudit:
    """The inverse of :meth:`ResolvedAudit.to_dict`."""
    return _PLAN.validate_python(plain)
