"""From a package of the registry to a denoiser on the device at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from services.adapters.diffusion_folder import LatentDiffusion, load_controlnet, load_latent_diffusion
from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.errors import FailedPrecondition
from services.hosting.diffusion.families import ClassToImage, Denoiser, SuperResolution, TextToImage
from services.hosting.diffusion.settings import Placement
from services.maths.diffusion.parameterisation import Parameterisation
from services.maths.diffusion.schedules import NoiseSchedule, cosine_schedule, scaled_linear_schedule
from services.maths.networks import build_network

TASKS = ("class-to-image", "text-to-image", "mask-to-image", "super-resolution")


class Loader:
    """Opens packages; a text-to-image model that is served and that control branches steer is in memory once."""

    def __init__(self, registry: DirectoryRegistry, placement: Placement) -> None:
        self.registry = registry
        """Where packages are found; one that was read later may take its place."""
        self._placement = placement
        self._latent: dict[str, LatentDiffusion] = {}

    def open(self, record: ModelRecord) -> Denoiser:
        """FailedPrecondition names what is missing, does not fit or contradicts itself."""
        if record.task == "class-to-image":
            return ClassToImage(record, self._network(record), self._placement, scalings_of(record))
        if record.task == "super-resolution":
            assert record.output is not None
            tile = record.output.height
            return SuperResolution(record, self._network(record), self._placement, scalings_of(record), tile)
        if record.task == "text-to-image":
            model = self._latent_diffusion(record)
            return TextToImage(record, model, self._placement, _checked_scalings(record, model))
        if record.task == "mask-to-image":
            return self._controlled(record)
        raise FailedPrecondition(f"a {record.task} model is not sampled", field="task", reason="MODEL_TASK_MISMATCH")

    def _controlled(self, record: ModelRecord) -> Denoiser:
        assert record.base is not None
        base = self.registry.find(record.base.name, record.base.version)
        if base.digest != record.base.digest:
            raise FailedPrecondition(
                f"{record.name} was trained on another {base.name}/{base.version} than the one that is here",
                field="base.digest",
                reason="BASE_MODEL_CHANGED",
            )
        model = self._latent_diffusion(base)
        control = load_controlnet(self.registry.folder(record), dtype=self._placement.dtype)
        control = self._ready(control)
        return TextToImage(record, model, self._placement, _checked_scalings(base, model), control)

    def _latent_diffusion(self, record: ModelRecord) -> LatentDiffusion:
        if record.digest not in self._latent:
            folder: Path = self.registry.folder(record)
            model = load_latent_diffusion(folder, dtype=self._placement.dtype)
            ready = LatentDiffusion(model.text, self._ready(model.vae), self._ready(model.unet), model.scheduler)
            model.text.model.to(self._placement.device)
            self._latent[record.digest] = ready
        return self._latent[record.digest]

    def _network(self, record: ModelRecord) -> Any:
        network = build_network(record.family, dict(record.architecture))
        tensors = self.registry.load_tensors(record)
        state = {name: torch.from_numpy(np.ascontiguousarray(value, np.float32)) for name, value in tensors.items()}
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise FailedPrecondition(
                f"the weights of {record.name}/{record.version} do not fit the stated {record.family}",
                field="architecture",
                reason="WEIGHTS_OF_ANOTHER_NETWORK",
            ) from error
        return self._ready(network)

    def _ready(self, network: Any) -> Any:
        """In its place, its type and the layout that convolutions are quickest in; compiled where that pays."""
        place = self._placement
        network = network.eval().requires_grad_(False).to(place.device, place.dtype, memory_format=torch.channels_last)
        if place.compiled and hasattr(network, "compile"):
            network.compile()
        return network


def scalings_of(record: ModelRecord) -> Parameterisation:
    """The record's schedule and prediction as one object."""
    assert record.diffusion is not None
    return Parameterisation(record.diffusion.prediction, record.diffusion.schedule_of())


def _checked_scalings(record: ModelRecord, model: LatentDiffusion) -> Parameterisation:
    """model.yaml and the folder's own scheduler must say the same, or one of them would give noise for images."""
    assert record.diffusion is not None
    stated, told = record.diffusion, model.scheduler
    for field in ("schedule", "prediction", "steps", "zero_terminal_snr"):
        if getattr(stated, field) != getattr(told, field):
            raise FailedPrecondition(
                f"model.yaml of {record.name} says {field} {getattr(stated, field)!r}, its scheduler folder "
                f"{getattr(told, field)!r}",
                field=f"diffusion.{field}",
                reason="SCHEDULER_MISMATCH",
            )
    return Parameterisation(stated.prediction, _schedule(model))


def _schedule(model: LatentDiffusion) -> NoiseSchedule:
    told = model.scheduler
    if told.schedule == "cosine":
        return cosine_schedule(told.steps, zero_terminal_snr=told.zero_terminal_snr)
    return scaled_linear_schedule(
        told.steps, first=told.first, last=told.last, zero_terminal_snr=told.zero_terminal_snr
    )
