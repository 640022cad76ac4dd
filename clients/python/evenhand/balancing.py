"""Balanced synthetic cohorts: how one is asked for, and where its images came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import pandas as pd

from evenhand.calls import resource_name
from evenhand.cohort.v1 import synthetic_pb2
from evenhand.errors import InvalidInput, OutOfRange

Words = Mapping[str, Mapping[str, str]]


class Balancing(TypedDict, total=False):
    """How a synthetic cohort is drawn and sampled; what is left out is the server's default.

    attributes, labels: what to balance on; groups are all intersections. words: {"age": {"40 to 59": "50s"}} for levels
    that the prompt shall say otherwise. cap: groups of fewer patients get a smaller share. seed: of draws and noise.
    split: "train" unless given; "all" for every record. skip_empty_groups: balance over the groups that have somebody.
    steps, sampler, guidance_scale, negative_prompt: as for generations.
    """

    attributes: Sequence[str]
    labels: Sequence[str]
    words: Words
    cap: int
    seed: int
    split: str
    skip_empty_groups: bool
    steps: int
    sampler: str
    guidance_scale: float
    negative_prompt: str


def synthetic_spec(
    cohort: str, model: str, template: str, images: int, settings: Balancing
) -> synthetic_pb2.SyntheticSpec:
    """The spec of a synthetic cohort; an unknown setting, a wrong type or a number beyond its type is named."""
    plain: dict[str, Any] = {
        "cohort": resource_name("cohorts", cohort),
        "model": resource_name("models", model),
        "template": template,
        "images": images,
        **settings,
    }
    spec = synthetic_pb2.SyntheticSpec()
    for field, levels in plain.pop("words", {}).items():
        spec.words[field].of_level.update({str(level): str(word) for level, word in levels.items()})
    for name, value in plain.items():
        try:
            if isinstance(value, list | tuple):
                getattr(spec, name).extend(value)
            else:
                setattr(spec, name, value)
        except ValueError as error:
            raise OutOfRange(f"{value!r} does not fit: {error}", field=name) from error
        except (AttributeError, TypeError) as error:
            raise InvalidInput(f"{name} is no setting, or not {value!r}", field=name) from error
    return spec


class Origin:
    """Where the images of a synthetic cohort came from."""

    def __init__(self, proto: synthetic_pb2.Synthetic) -> None:
        self.proto = proto

    @property
    def source(self) -> str:
        """The real cohort that lent prompts and masks."""
        return self.proto.spec.cohort

    @property
    def model(self) -> str:
        """ "models/phantom-controlnet@1"."""
        return f"{self.proto.spec.model}@{self.proto.model_version}"

    @property
    def cap(self) -> int | None:
        """Patients below which a group's share shrinks; None without a cap."""
        return self.proto.spec.cap if self.proto.spec.HasField("cap") else None

    @property
    def distinct_noise(self) -> int:
        """Initial noises among the images: as many as there are images."""
        return self.proto.distinct_noise

    def groups(self) -> pd.DataFrame:
        """One row a group: patients and records drawn from, its share and images without cap, expected and made."""
        names = (
            *("name", "patients", "records", "share_without_cap", "images_without_cap"),
            *("expected_share", "images", "share", "images_per_patient"),
        )
        return pd.DataFrame([{name: getattr(group, name) for name in names} for group in self.proto.groups])

    def to_dict(self) -> dict[str, Any]:
        """Line by line."""
        spec = self.proto.spec
        return {
            "made by": self.model,
            "from": self.source,
            "split": spec.split,
            "prompt": spec.template,
            "balanced on": [*spec.attributes, *spec.labels],
            "cap": self.cap,
            "seed": str(spec.seed),
            "sampling": f"{spec.sampler}, {spec.steps} steps, guidance {spec.guidance_scale:g}",
            "images": f"{self.proto.images}, from {self.distinct_noise} distinct noises",
            "left out": f"{self.proto.left_out} records that lack a level or label" if self.proto.left_out else "",
            "empty groups": list(self.proto.empty_groups),
        }

    def __repr__(self) -> str:
        return f"<synthetic: {self.proto.images} images by {self.model} from {self.source}>"
