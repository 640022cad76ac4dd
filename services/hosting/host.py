"""What every model host does: load by digest, check, batch, run, finish. No Ray in here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from services.adapters.weights import DirectoryRegistry, ModelRecord, OnLeftOut
from services.errors import InvalidInput, NonFinite, NotFound, OutOfRange, ShapeMismatch
from services.hosting.batching import SIZES, Batcher
from services.hosting.runners import Runner, open_runner
from services.hosting.sampled import asked_of, quickest, sampling

OUTPUT_NAME = {
    "reconstruction": "image",
    "classification": "probabilities",
    "attribute-classification": "probabilities",
    "segmentation": "mask",
    "image-embedding": "embedding",
}
RANGE_SLACK = 1e-3  # resampling may overshoot a range's end by rounding
MOST_ROWS = 256

OnBatch = Callable[[str, int, int, float], None]  # model, rows, padded to, seconds


class ModelHost:
    """All models of some tasks out of a registry, answering named float32 arrays."""

    def __init__(
        self,
        registry: DirectoryRegistry,
        tasks: Collection[str],
        *,
        threads: int = 1,
        on_batch: OnBatch = lambda model, rows, padded, seconds: None,
    ) -> None:
        torch.set_num_threads(threads)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._tasks = tasks
        self._on_batch = on_batch
        self._records: list[ModelRecord] = []
        self._runners: dict[tuple[str, str], Runner] = {}
        self._batchers: dict[tuple[str, str], Batcher] = {}
        self.extend(registry)

    def extend(self, registry: DirectoryRegistry, *, left_out: OnLeftOut | None = None) -> list[ModelRecord]:
        """Serve what the registry has and this host has not, and say what that is. What was served stays as it was.

        A package whose network cannot be opened is told to ``left_out``; without ``left_out`` its error is raised, and
        nothing is added.
        """
        new: list[ModelRecord] = []
        runners: dict[tuple[str, str], Runner] = {}
        for record in registry.models():
            if record.task not in self._tasks or self._has(record):
                continue
            try:
                runners[_key(record)] = open_runner(record, registry, self._executor)
            except Exception as error:
                if left_out is None:
                    raise
                left_out(f"{record.name}/{record.version}", error)
            else:
                new.append(record)
        self._batchers |= {
            key: Batcher(
                runner.run,
                on_batch=lambda rows, padded, seconds, name=key[0]: self._on_batch(name, rows, padded, seconds),  # type: ignore[misc]
            )
            for key, runner in runners.items()
        }
        self._runners |= runners
        self._registry = registry
        self._records = sorted([*self._records, *new], key=lambda record: (record.name, int(record.version)))
        return new

    def _has(self, record: ModelRecord) -> bool:
        return _key(record) in self._runners

    async def warm_up(self, records: Collection[ModelRecord] | None = None) -> None:
        """Run the smallest and the largest batch through every local network (or those of ``records``), so that no
        caller pays for first use."""
        for record in self._records if records is None else records:
            if record.backend == "torch":
                for size in (SIZES[0], SIZES[-1]):
                    spec = record.input
                    zeros = np.full((size, spec.channels, spec.height, spec.width), spec.low, np.float32)
                    await self._batchers[_key(record)].submit(zeros, exact=size, how=quickest(record))

    async def close(self) -> None:
        for runner in self._runners.values():
            await runner.close()

    def catalogue(self) -> list[dict[str, Any]]:
        """Every served version as plain data, with its digest and the name of its output."""
        return [
            {
                **record.model_dump(mode="json"),
                **sampling(record),
                "digest": record.digest,
                "output_name": OUTPUT_NAME[record.task],
            }
            for record in self._records
        ]

    def serves(self, model: str, version: str = "") -> bool:
        """Whether :meth:`find` has an answer."""
        return bool(self._versions(model, version))

    def find(self, model: str, version: str = "") -> ModelRecord:
        """The served record; without a version, the highest."""
        matching = self._versions(model, version)
        if not matching:
            wanted = f"{model!r} version {version}" if version else repr(model)
            raise NotFound(f"no model {wanted} is served here", field="model", reason="MODEL_NOT_FOUND")
        return matching[-1]

    def _versions(self, model: str, version: str) -> list[ModelRecord]:
        return [record for record in self._records if record.name == model and version in ("", record.version)]

    def learned_from(self, model: str, version: str) -> bytes:
        """The file of a version's package that lists whom it learned from; empty where it has none."""
        return self._registry.learned_from(self.find(model, version))

    async def infer(
        self, model: str, version: str, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """``{"image": (N, C, H, W) float32}`` → one output by its task's name, N rows.

        ``parameters["batch"]`` pads every network call to exactly that size, which makes a row's bits independent of
        the traffic around it; at most 256. A model that samples takes "sampler", "steps" and "seed" too.
        """
        record = self.find(model, version)
        images = check_input(record, inputs)
        exact = parameters.get("batch")
        if exact is not None and not 1 <= int(exact) <= MOST_ROWS:
            raise OutOfRange(f"batch must lie in 1..{MOST_ROWS}", field="parameters.batch")
        how = asked_of(record, parameters)
        raw = await self._batchers[_key(record)].submit(images, exact=int(exact) if exact else None, how=how)
        return {OUTPUT_NAME[record.task]: finish(record, raw)}


def check_input(record: ModelRecord, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The image array, or the error that says what the model expected instead."""
    if set(inputs) != {"image"}:
        raise InvalidInput(
            f"{record.name} takes one input named 'image', not {sorted(inputs)}",
            field="inputs",
            reason="INPUT_NAME_UNKNOWN",
        )
    images, spec = inputs["image"], record.input
    expected = (spec.channels, spec.height, spec.width)
    if images.ndim != len(expected) + 1 or images.shape[1:] != expected or not 1 <= len(images) <= MOST_ROWS:
        raise ShapeMismatch(
            f"{record.name} takes (N, {', '.join(map(str, expected))}) with N in 1..{MOST_ROWS}, got {images.shape}",
            field="inputs.image",
        )
    if images.dtype != np.float32:
        raise ShapeMismatch(
            f"{record.name} takes float32, got {images.dtype}", field="inputs.image", reason="DTYPE_MISMATCH"
        )
    lowest, highest = float(images.min()), float(images.max())  # NaN wins both
    if not np.isfinite([lowest, highest]).all():
        raise NonFinite("NaN or infinity among the pixels", field="inputs.image")
    if lowest < spec.low - RANGE_SLACK or highest > spec.high + RANGE_SLACK:
        raise OutOfRange(
            f"{record.name} takes values in [{spec.low:g}, {spec.high:g}], got [{lowest:.4g}, {highest:.4g}]",
            field="inputs.image",
        )
    return images


def finish(record: ModelRecord, raw: np.ndarray) -> np.ndarray:
    """Network output → probabilities, an embedding as it is, or pixels clipped to the output range; float32."""
    if record.task == "image-embedding":
        return np.asarray(raw, np.float32)
    if record.task == "reconstruction":
        assert record.output is not None  # ModelRecord checks it
        return np.asarray(np.clip(raw, record.output.low, record.output.high), np.float32)
    if record.task == "attribute-classification":
        shifted = np.exp(raw - raw.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(raw, -80.0, 80.0))), np.float32)


def _key(record: ModelRecord) -> tuple[str, str]:
    return record.name, record.version


__all__ = ["ModelHost", "Runner", "check_input", "finish"]
