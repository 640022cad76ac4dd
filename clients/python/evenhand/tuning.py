"""Going on from a reconstruction model, so that a downstream classifier errs alike in all groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evenhand.calls import resource_name
from evenhand.training.v1 import training_pb2


@dataclass(frozen=True)
class FineTuning:
    """What to go on from, which term to add, and on which data.

    Attributes:
        base: "xray-unet@1"; without a version the highest.
        method: "none" (the model's own loss alone, as a control), "reweighting", "equalised-odds" or "adversarial".
        attributes: whose groups are to be served alike; "sex,age" is the intersection of both.
        weights: the values of λ; several are a sweep, which leaves one model version for each.
        temperature: softness of thresholds in logits, for "equalised-odds"; 0 means the server's default.
        label_conditional: whether "adversarial" compares images of the same label only.
        missing: "refuse" images without a level (the default), or make them an "own-group".
        labels: in which groups are to be served alike; empty means all that the classifier reads and the data have.
        predictor: the classifier, "chest-classifier@1"; empty means the only one of the modality.
        cohort: to learn from, "cohorts/…"; empty means phantoms.
        world: of the phantoms, "null", "planted" or "confounded"; empty means the recipe's own.
        audit_cohort: which must share no patient with what is learned from.
        allow_synthetic: learn from the cohort even if a model drew its images; without it that is refused.
    """

    base: str
    method: str = "none"
    attributes: Sequence[str] = ()
    weights: Sequence[float] = ()
    temperature: float = 0.0
    label_conditional: bool = False
    missing: str = ""
    labels: Sequence[str] = ()
    predictor: str = ""
    cohort: str = ""
    world: str = ""
    audit_cohort: str = ""
    allow_synthetic: bool = False

    def fields(self) -> dict[str, Any]:
        """The fields of a CreateTrainingRequest that it sets."""
        base, base_version = model_version(self.base)
        predictor, predictor_version = model_version(self.predictor)
        return {
            "base": base,
            "base_version": base_version,
            "mitigation": training_pb2.Mitigation(
                method=self.method,
                attributes=self.attributes,
                weights=self.weights,
                temperature=self.temperature,
                label_conditional=self.label_conditional,
                missing=self.missing,
                predictor=predictor,
                predictor_version=predictor_version,
                labels=self.labels,
            ),
            "data": training_pb2.TuningData(
                cohort=_cohort(self.cohort),
                world=self.world,
                audit_cohort=_cohort(self.audit_cohort),
                allow_synthetic=self.allow_synthetic,
            ),
        }


def model_version(text: str) -> tuple[str, str]:
    """("models/xray-unet", "1") of "xray-unet@1"; the version is empty where none is named."""
    name, _, version = text.partition("@")
    return (resource_name("models", name) if name else ""), version


def _cohort(name: str) -> str:
    return resource_name("cohorts", name) if name else ""
