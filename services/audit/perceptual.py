"""The perceptual metrics that an audit asks for: their networks there, pinned by digest, and loaded once a process.

LPIPS has weights of its own; a distance in an encoder's features has a package of the registry.

torch is imported when a network is first needed: most audits need none, and it is half of a worker's start.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from services.audit.encoders import Encoders
from services.audit.pipeline import Degrade, ModelStage, ResolvedAudit, ResolvedPipeline, encoder_of
from services.errors import FailedPrecondition, InvalidInput

if TYPE_CHECKING:
    from services.maths.networks.lpips import LpipsNetwork, Variant

VARIANTS: dict[str, Variant] = {"lpips_alex": "alex", "lpips_vgg": "vgg"}


class Perceptual:
    """``folder`` and ``registries``: the settings' ``lpips_weights`` and ``models``, read when a metric needs them."""

    def __init__(self, folder: Path | None, registries: Sequence[Path]) -> None:
        self._folder = folder
        self._encoders = Encoders(registries)
        self._networks: dict[str, LpipsNetwork] = {}
        self._lock = threading.Lock()

    def digests(self, metrics: Iterable[str]) -> dict[str, str]:
        """The digest of the network of those of ``metrics`` that have one.

        Raises FailedPrecondition LPIPS_WEIGHTS_ABSENT, and what else :func:`load_lpips` and :class:`Encoders` raise.
        """
        networks = {metric: self._network(metric).digest for metric in metrics if metric in VARIANTS}
        return networks | {metric: self._encoders.digest(metric) for metric in metrics if encoder_of(metric)}

    def check(self, plan: ResolvedAudit, catalogue: Iterable[Mapping[str, Any]]) -> None:
        """Raises InvalidInput for a pipeline whose images do not suit a network that is to compare them."""
        modalities = {model["digest"]: str(model.get("modality") or "") for model in catalogue}
        places = {f"spec.pipelines[{index}]": pipeline for index, pipeline in enumerate(plan.pipelines)}
        compared = {at: pipeline for at, pipeline in places.items() if changes_images(pipeline)}
        for metric, digest in plan.perceptual.items():
            if encoder_of(metric):
                self._encoders.check(metric, digest, compared, modalities)
                continue
            for at, pipeline in compared.items():
                self._check_size(metric, pipeline, at)

    def _check_size(self, metric: str, pipeline: ResolvedPipeline, at: str) -> None:
        smallest = self._network(metric).smallest
        if min(pipeline.height, pipeline.width) < smallest:
            raise InvalidInput(
                f"{metric} needs images of at least {smallest} pixels a side; those of {pipeline.name} have "
                f"{pipeline.height} x {pipeline.width}",
                field=at,
                reason="IMAGE_TOO_SMALL_FOR_METRIC",
            )

    def measure(self, metric: str, digest: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """The metric as a function of (changed, original) images, with the weights that the plan pinned."""
        if encoder_of(metric):
            return self._encoders.distance(metric, digest)
        network = self._network(metric)
        if network.digest != digest:
            raise FailedPrecondition(
                f"the weights of {metric} are no longer those that this audit was created with; create it again",
                field=metric,
                reason="MODEL_CHANGED",
            )
        from services.maths.imaging.perceptual import lpips

        return partial(lpips, network=network)

    def _network(self, metric: str) -> LpipsNetwork:
        if self._folder is None:
            raise FailedPrecondition(
                f"{metric} needs weights that this platform has not; set EVENHAND_LPIPS_WEIGHTS to the folder with "
                f"{metric}.safetensors, or leave the metric out",
                field="spec.quality_metrics",
                reason="LPIPS_WEIGHTS_ABSENT",
            )
        with self._lock:
            if metric not in self._networks:
                import torch

                from services.adapters.perceptual import load_lpips

                torch.set_num_threads(1)  # a distance must not depend on how many cores the machine has
                self._networks[metric] = load_lpips(self._folder, VARIANTS[metric])
            return self._networks[metric]


def changes_images(pipeline: ResolvedPipeline) -> bool:
    """Whether its images are compared with their originals."""
    return any(
        isinstance(stage, Degrade) or (isinstance(stage, ModelStage) and stage.kind == "reconstruct")
        for stage in pipeline.stages
    )
