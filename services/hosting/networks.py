"""A package's network in this process, ready to be asked."""

from __future__ import annotations

import numpy as np
import torch

from services.adapters.weights import ModelRecord
from services.errors import FailedPrecondition
from services.maths.networks import build_network


def load_network(record: ModelRecord, tensors: dict[str, np.ndarray]) -> torch.nn.Module:
    """In evaluation mode and single precision, on the GPU if there is one.

    FailedPrecondition WEIGHTS_OF_ANOTHER_NETWORK where the weights do not fit the stated architecture.
    """
    network = build_network(record.family, dict(record.architecture))
    state = {name: torch.from_numpy(np.ascontiguousarray(value, np.float32)) for name, value in tensors.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise FailedPrecondition(
            f"the weights of {record.name}/{record.version} do not fit the stated {record.family}",
            field="architecture",
            reason="WEIGHTS_OF_ANOTHER_NETWORK",
        ) from error
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    placed: torch.nn.Module = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed


def on_device(network: torch.nn.Module, images: np.ndarray) -> torch.Tensor:
    """(B, C, H, W) where the network is. What came over the wire is read-only, and torch wants to own what it wraps."""
    owned = images if images.flags.writeable else images.copy()
    return torch.from_numpy(owned).to(next(network.parameters()).device, memory_format=torch.channels_last)
