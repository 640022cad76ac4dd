"""Going on from a text-to-image model, until its images have wanted shares of groups (SDAT, Han et al. 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evenhand.calls import resource_name
from evenhand.errors import InvalidInput
from evenhand.training.v1 import training_pb2
from evenhand.tuning import model_version

RECIPE = "sdat"


@dataclass(frozen=True)
class AlignedShares:
    """The shares that the levels of one attribute are to have.

    Attributes:
        attribute: such as "sex".
        classifier: guides, "cardiac-sex-classifier@1"; without a version the highest.
        target: share by level, adding up to 1; empty means equal shares.
        judge: another classifier, which never guides and says what came of it.
        cohort: "cohorts/…" of real images, whose outputs of the classifier are the targets instead of shares.
    """

    attribute: str
    classifier: str
    target: Mapping[str, float] = field(default_factory=dict)
    judge: str = ""
    cohort: str = ""

    def message(self) -> training_pb2.AlignedShares:
        classifier, classifier_version = model_version(self.classifier)
        judge, judge_version = model_version(self.judge)
        return training_pb2.AlignedShares(
            attribute=self.attribute,
            target=self.target,
            classifier=classifier,
            classifier_version=classifier_version,
            judge=judge,
            judge_version=judge_version,
            cohort=resource_name("cohorts", self.cohort) if self.cohort else "",
        )


@dataclass(frozen=True)
class Alignment:
    """What to go on from and which shares to reach; what is 0 or empty is the server's default.

    Attributes:
        base: "cardiac-skewed-diffusion@1"; without a version the highest.
        shares: one for each attribute.
        joint: align the crossing of the attributes, to the product of their shares.
        prompts: to tune on; none may name an attribute that is aligned. Empty means the phantoms' 100.
        test_prompts: to judge on; empty means the phantoms' 20.
        settings: other fields of the API's Alignment by name, such as confidence, preservation, method, learning_rate.
    """

    base: str
    shares: Sequence[AlignedShares]
    joint: bool = False
    prompts: Sequence[str] = ()
    test_prompts: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """The fields of a CreateTrainingRequest that it sets."""
        base, base_version = model_version(self.base)
        alignment = training_pb2.Alignment(
            shares=[one.message() for one in self.shares],
            joint=self.joint,
            prompts=self.prompts,
            test_prompts=self.test_prompts,
            **self.settings,
        )
        return {"base": base, "base_version": base_version, "alignment": alignment}


def read_shares(text: str) -> tuple[str, dict[str, float]]:
    """("sex", {"Female": 0.5, "Male": 0.5}) of "sex:Female=0.5,Male=0.5"; no shares of "sex".

    Raises:
        InvalidInput: for other text.
    """
    attribute, _, listed = text.partition(":")
    target: dict[str, float] = {}
    for part in listed.split(",") if listed else ():
        level, equals, share = part.partition("=")
        try:
            target[level.strip()] = float(share)
        except ValueError:
            equals = ""
        if not equals or not level.strip():
            raise InvalidInput(
                f"{part!r} is no share; write sex:Female=0.5,Male=0.5", field="target", reason="TARGET_INVALID"
            )
    return attribute.strip(), target
