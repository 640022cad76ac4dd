"""How a reconstruction network is asked for an image, as its ``model.yaml`` states it under ``restoration``.

A record without the field belongs to a network that is asked once and was trained on the squared error. Nothing here
has a default: a record says how it samples in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from services.maths.restoration.flow import Flow
from services.maths.restoration.ir_sde import IrSde
from services.maths.restoration.plans import Process


class Pix2PixRestoration(BaseModel):
    """One pass of a generator that was trained against a discriminator.

    ``mode`` "evaluation": dropout is off and batch normalisation uses its running statistics, so that neither chance
    nor the other images of a batch decide a result; the original Pix2Pix tested in training mode.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    method: Literal["pix2pix"]
    mode: Literal["evaluation"]
    l1_weight: float = Field(gt=0)


class _Sampled(BaseModel):
    """``noise`` "pixels": each draw is keyed by the seed and by the sha256 of the degraded pixels, float32 as the
    network gets them. ``sampler``, ``steps`` and ``seed`` are what a request gets that names none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    deviation: float = Field(gt=0)
    spread: float = Field(gt=0)
    sampler: str
    steps: int
    seed: int = Field(ge=0)
    noise: Literal["pixels"]

    def process(self) -> Process:
        raise NotImplementedError

    @model_validator(mode="after")
    def _can_be_sampled(self) -> _Sampled:
        self.process().plan(self.sampler, self.steps)
        return self


class IrSdeRestoration(_Sampled):
    """The mean-reverting SDE; see :class:`services.maths.restoration.ir_sde.IrSde` for the parameters."""

    method: Literal["ir-sde"]
    times: int
    remaining: float
    offset: float
    prediction: Literal["noise", "velocity"]

    def process(self) -> IrSde:
        return IrSde(self.times, self.deviation, self.remaining, self.offset, self.prediction, self.spread)


class FlowRestoration(_Sampled):
    """The rectified flow; see :class:`services.maths.restoration.flow.Flow` for the parameters."""

    method: Literal["flow"]
    clock: float

    def process(self) -> Flow:
        return Flow(self.deviation, self.spread, self.clock)


SampledRestoration = IrSdeRestoration | FlowRestoration
Restoration = Annotated[Pix2PixRestoration | IrSdeRestoration | FlowRestoration, Field(discriminator="method")]
_READER: TypeAdapter[Restoration] = TypeAdapter(Restoration)


def read_restoration(plain: Mapping[str, Any]) -> Restoration | None:
    """``restoration`` as a recipe or ``model.yaml`` has it, None for an empty one; pydantic's ValidationError."""
    return _READER.validate_python(dict(plain)) if plain else None
