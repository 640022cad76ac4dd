"""The networks that a fine-tuning begins with, as they were when it was asked for."""

from __future__ import annotations

import torch
from torch import nn

from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.errors import FailedPrecondition, NotFound
from services.maths.networks import build_network
from services.training.tuning import Pin


def pinned(models: DirectoryRegistry, pin: Pin) -> ModelRecord:
    """The record of a pinned version. FailedPrecondition MODEL_CHANGED if it has become another since."""
    record = models.find(pin.name, pin.version)
    if record.digest != pin.digest:
        raise FailedPrecondition(
            f"{pin.name}/{pin.version} is not what it was when the training was asked for",
            field="base",
            reason="MODEL_CHANGED",
        )
    return record


def load_network(models: DirectoryRegistry, record: ModelRecord) -> nn.Module:
    """A record's network with its weights, in channels-last layout as in training."""
    network = build_network(record.family, record.architecture)
    tensors = {name: torch.from_numpy(array) for name, array in models.load_tensors(record).items()}
    network.load_state_dict(tensors)
    return network.to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]


def pin_of(record: ModelRecord) -> Pin:
    return Pin(record.name, record.version, record.digest)


def find_model(registry: DirectoryRegistry, name: str, version: str, at: str) -> ModelRecord:
    """The record of a version, the highest if none is named. NotFound MODEL_NOT_FOUND with ``at`` as its field."""
    try:
        return registry.find(name, version)
    except NotFound as error:
        raise NotFound(error.message, field=at, reason=error.reason) from error


def load_frozen(models: DirectoryRegistry, pin: Pin) -> nn.Module:
    """The network of a pinned version in evaluation mode, which never learns."""
    return load_network(models, pinned(models, pin)).eval().requires_grad_(False)
