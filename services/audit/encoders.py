"""The image encoders that perceptual distances are taken in: found in the registries, and pinned by digest.

Like LPIPS, an encoder runs in the worker: a distance needs its layers, and a served encoder answers with its last only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.audit.pipeline import ModelStage, ResolvedPipeline, encoder_of
from services.errors import FailedPrecondition, InvalidInput, NotFound
from services.maths.pixels import PixelSpec, to_model

if TYPE_CHECKING:
    from services.maths.networks.resnet import ResNet18

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Encoding:
    """An encoder's pooled features of images: (N, C, H, W) in [0, 1] → (N, d) float32."""

    record: ModelRecord
    encode: Callable[[np.ndarray], np.ndarray]


class Encoders:
    """``registries`` are read when a metric asks for an encoder, so that one trained since is found."""

    def __init__(self, registries: Sequence[Path]) -> None:
        self._registries = registries
        self._distances: dict[str, Distance] = {}
        self._lock = threading.Lock()

    def digest(self, metric: str) -> str:
        """Of the encoder's package, its highest version.

        Raises NotFound MODEL_NOT_FOUND, and InvalidInput TASK_MISMATCH for what has no layers to compare images in.
        """
        name = encoder_of(metric)
        records = list(self._registry().models())
        versions = [record for record in records if record.name == name]
        if not versions:
            known = sorted({record.name for record in records if _encodes(record)})
            raise NotFound(
                f"{metric} needs the image encoder {name!r}, which is in no registry; there are "
                f"{', '.join(known) or 'none'}",
                field="spec.quality_metrics",
                reason="MODEL_NOT_FOUND",
            )
        record = versions[-1]
        if not _encodes(record):
            raise InvalidInput(
                f"{name} is a {record.family} for {record.task}; {metric} needs a resnet18 for image-embedding",
                field="spec.quality_metrics",
                reason="TASK_MISMATCH",
            )
        return record.digest

    def check(
        self, metric: str, digest: str, pipelines: Mapping[str, ResolvedPipeline], modalities: Mapping[str, str]
    ) -> None:
        """Raises InvalidInput for a pipeline with images of another size or modality than the encoder learned from.

        ``pipelines`` by their place in the request, for the error; ``modalities`` has those of the models by their
        digests, "" where one states none.
        """
        record = self._pinned(metric, digest)
        for at, pipeline in pipelines.items():
            _check_size(record, pipeline, at)
            _check_modality(record, pipeline, modalities, at)

    def distance(self, metric: str, digest: str) -> Distance:
        """The metric as a function of (changed, original) images in [0, 1]; the network is loaded once a process.

        Raises FailedPrecondition MODEL_CHANGED where no version of the encoder has the digest any more.
        """
        with self._lock:
            if digest not in self._distances:
                self._distances[digest] = self._load(self._pinned(metric, digest))
            return self._distances[digest]

    def _registry(self) -> DirectoryRegistry:
        return DirectoryRegistry(self._registries)

    def _pinned(self, metric: str, digest: str) -> ModelRecord:
        for record in self._registry().models():
            if (record.name, record.digest) == (encoder_of(metric), digest):
                return record
        raise FailedPrecondition(
            f"the encoder of {metric} is no longer the one that this audit was created with; create it again",
            field=metric,
            reason="MODEL_CHANGED",
        )

    def encoding(self, shape: tuple[int, int, int], modality: str) -> Encoding | None:
        """The features of an encoder of (C, H, W) images: one that learned from the modality before one for all.

        None without such an encoder; of several the first by name, in its highest version. Raises as the registry does.
        """
        suited = [
            record
            for record in self._registry().models()
            if _encodes(record)
            and (record.input.channels, record.input.height, record.input.width) == shape
            and record.modality in ("", modality)
        ]
        if not suited:
            return None
        chosen = min(suited, key=lambda record: (not record.modality, record.name, -int(record.version)))
        return Encoding(chosen, partial(_pooled, spec=chosen.input.spec(), network=self._network(chosen)))

    def _load(self, record: ModelRecord) -> Distance:
        return partial(_distance, spec=record.input.spec(), network=self._network(record))

    def _network(self, record: ModelRecord) -> ResNet18:
        import torch

        from services.hosting.networks import load_network
        from services.maths.networks.resnet import ResNet18

        torch.set_num_threads(1)  # a distance must not depend on how many cores the machine has
        network = load_network(record, self._registry().load_tensors(record)).to("cpu")
        assert isinstance(network, ResNet18)  # _encodes asked for the family
        return network


def _encodes(record: ModelRecord) -> bool:
    return (record.task, record.family, record.backend) == ("image-embedding", "resnet18", "torch")


def _check_size(record: ModelRecord, pipeline: ResolvedPipeline, at: str) -> None:
    wanted, found = (record.input.height, record.input.width), (pipeline.height, pipeline.width)
    if found != wanted:
        raise InvalidInput(
            f"{record.name} compares images of {wanted[0]} x {wanted[1]} pixels; those of {pipeline.name} have "
            f"{found[0]} x {found[1]}",
            field=at,
            reason="ENCODER_OF_ANOTHER_SIZE",
        )


def _check_modality(record: ModelRecord, pipeline: ResolvedPipeline, modalities: Mapping[str, str], at: str) -> None:
    for stage in pipeline.stages:
        modality = modalities.get(stage.digest, "") if isinstance(stage, ModelStage) else ""
        if isinstance(stage, ModelStage) and record.modality and modality not in ("", record.modality):
            raise InvalidInput(
                f"{record.name} learned from {record.modality}, {stage.model} of {pipeline.name} from {modality}; "
                "choose an encoder of these images",
                field=at,
                reason="ENCODER_OF_ANOTHER_MODALITY",
            )


def _distance(images: np.ndarray, originals: np.ndarray, *, spec: PixelSpec, network: ResNet18) -> np.ndarray:
    from services.maths.imaging.perceptual import encoder_distance

    return encoder_distance(to_model(images, spec), to_model(originals, spec), network)


def _pooled(images: np.ndarray, *, spec: PixelSpec, network: ResNet18) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return np.asarray(network.pooled(torch.from_numpy(to_model(images, spec))).numpy())
