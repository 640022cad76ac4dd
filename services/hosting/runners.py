"""What computes a batch: torch in this process, or a Triton server; the same weights give the same numbers in both."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch

from services.adapters.restoration import SampledRestoration
from services.adapters.triton import TritonRunner
from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.hosting.networks import load_network, on_device
from services.hosting.sampled import Asked, SampledRunner


class Runner(Protocol):
    """(B, C, H, W) float32 in the model's input range → raw network output, B rows.

    ``asked`` is for models that sample, which otherwise do as their record says.
    """

    async def run(self, images: np.ndarray, asked: Asked | None = None) -> np.ndarray: ...

    async def close(self) -> None: ...


class TorchRunner:
    """A network in this process. ``executor`` is shared by all models of a replica, so they take turns on its cores."""

    def __init__(self, network: torch.nn.Module, executor: ThreadPoolExecutor) -> None:
        self._network = network
        self._executor = executor

    async def run(self, images: np.ndarray, asked: Asked | None = None) -> np.ndarray:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._compute, images)

    def _compute(self, images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            batch = on_device(self._network, images)
            return np.ascontiguousarray(self._network(batch).float().cpu().numpy())

    async def close(self) -> None:
        return None


def open_runner(record: ModelRecord, registry: DirectoryRegistry, executor: ThreadPoolExecutor) -> Runner:
    if record.backend == "triton":
        return TritonRunner(record)
    network = load_network(record, registry.load_tensors(record))
    if isinstance(record.restoration, SampledRestoration):
        return SampledRunner(record.restoration, network, executor)
    return TorchRunner(network, executor)
