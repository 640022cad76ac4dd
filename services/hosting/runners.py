"""What computes a batch: torch in this process, or a Triton server; the same weights give the same numbers in both."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch

from services.adapters.triton import TritonRunner
from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.errors import FailedPrecondition
from services.maths.networks import build_network


class Runner(Protocol):
    """(B, C, H, W) float32 in the model's input range → raw network output, B rows."""

    async def run(self, images: np.ndarray) -> np.ndarray: ...

    async def close(self) -> None: ...


class TorchRunner:
    """A network in this process. ``executor`` is shared by all models of a replica, so they take turns on its cores."""

    def __init__(self, record: ModelRecord, tensors: dict[str, np.ndarray], executor: ThreadPoolExecutor) -> None:
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
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = network.eval().to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._executor = executor

    async def run(self, images: np.ndarray) -> np.ndarray:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._compute, images)

    def _compute(self, images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            batch = torch.from_numpy(_writable(images)).to(self._device, memory_format=torch.channels_last)
            return np.ascontiguousarray(self._network(batch).float().cpu().numpy())

    async def close(self) -> None:
        return None


def _writable(images: np.ndarray) -> np.ndarray:
    """Arrays that came over the wire are read-only views; torch wants to own what it wraps."""
    return images if images.flags.writeable else images.copy()


def open_runner(record: ModelRecord, registry: DirectoryRegistry, executor: ThreadPoolExecutor) -> Runner:
    if record.backend == "triton":
        return TritonRunner(record)
    return TorchRunner(record, registry.load_tensors(record), executor)
