"""Served models: what there is, and one image (or a batch) through one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from evenhand.calls import Caller, Flow, Together, resource_name
from evenhand.classification.v1 import classification_service_pb2
from evenhand.errors import InvalidInput
from evenhand.images import Floats, ImageLike, image_protos, tensor_array
from evenhand.listing import Listing, api_json
from evenhand.reconstruction.v1 import reconstruction_service_pb2
from evenhand.resources.v1 import image_pb2, model_pb2, model_service_pb2

if TYPE_CHECKING:
    from evenhand.client import AsyncClient, Client

SERVICE = "evenhand.resources.v1.ModelService"
CLASSIFY = "evenhand.classification.v1.ClassificationService/CreateClassification"
RECONSTRUCT = "evenhand.reconstruction.v1.ReconstructionService/CreateReconstruction"
INSTEAD = {
    model_pb2.TASK_TEXT_TO_IMAGE: "generations",
    model_pb2.TASK_MASK_TO_IMAGE: "generations",
    model_pb2.TASK_CLASS_TO_IMAGE: "generations",
    model_pb2.TASK_SUPER_RESOLUTION: "upscalings",
}
AT_ONCE = 16  # images of a batch under way from one async client


@dataclass(frozen=True)
class Prediction:
    """What a model made of one image, or of a batch (then the values have a leading axis N).

    ``values`` are float32: probabilities (K,) of a classifier, restored pixels (C, H, W) in [0, 1] of a reconstruction
    model, structure probabilities (S, H, W) of a segmenter. ``thresholds`` are the model's own, chosen on validation
    patients; empty for models that give pixels.
    """

    model: str
    model_version: str
    model_digest: str
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    values: Floats
    batch: bool = False

    def numpy(self) -> Floats:
        """The values."""
        return self.values

    def to_pandas(self) -> pd.DataFrame:
        """One row per label (probability, threshold, positive) or per channel of pixels (minimum, mean, maximum)."""
        values = self.values if self.batch else self.values[np.newaxis]
        count, channels = values.shape[:2]
        index = {"image": np.repeat(np.arange(count), channels)}
        if self.thresholds:
            scores, thresholds = values.ravel().astype(np.float64), np.tile(self.thresholds, count)
            columns = {"probability": scores, "threshold": thresholds, "positive": scores >= thresholds}
            return pd.DataFrame({**index, "label": np.tile(self.labels, count), **columns})
        pixels = values.reshape(count * channels, -1).astype(np.float64)
        names = self.labels or tuple(map(str, range(channels)))
        spread = {"minimum": pixels.min(axis=1), "mean": pixels.mean(axis=1), "maximum": pixels.max(axis=1)}
        return pd.DataFrame({**index, "channel": np.tile(names, count), **spread})

    def to_dict(self) -> dict[str, Any]:
        """The plain form that ``--json`` prints; pixels as their statistics only."""
        head = {"model": self.model, "model_version": self.model_version, "model_digest": self.model_digest}
        return {**head, "shape": list(self.values.shape), "results": self.to_pandas().to_dict(orient="records")}

    def _repr_html_(self) -> str:
        html: str = self.to_pandas().to_html(index=False)
        return html


class ModelCalls:
    """The flows of ModelService, ClassificationService and ReconstructionService."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def get(self, name: str, *, audits: bool = False) -> Flow[model_pb2.Model]:
        view = model_service_pb2.MODEL_VIEW_FULL if audits else model_service_pb2.MODEL_VIEW_BASIC
        request = model_service_pb2.GetModelRequest(name=resource_name("models", name), view=view)
        return self._caller.unary(f"{SERVICE}/GetModel", request, model_pb2.Model)

    def listing(self, limit: int | None) -> Flow[list[model_pb2.Model]]:
        request = model_service_pb2.ListModelsRequest()
        reply = model_service_pb2.ListModelsResponse
        return self._caller.pages(f"{SERVICE}/ListModels", request, reply, "models", limit)

    def infer(self, name: str, source: ImageLike) -> Flow[Prediction]:
        """Nothing is stored, so every image may be sent again after a failure."""
        model = yield from self.get(name)
        if model.task in INSTEAD:
            raise InvalidInput(
                f"{model.name} makes images; use client.{INSTEAD[model.task]}",
                field="model",
                reason="MODEL_TASK_MISMATCH",
            )
        images, batch = image_protos(source)
        if not images:
            raise InvalidInput("the batch has no images", field="image")
        reconstructs = model.task == model_pb2.TASK_RECONSTRUCTION
        one = self._reconstruction if reconstructs else self._classification
        predictions: list[Prediction] = yield Together([one(model, image) for image in images], AT_ONCE)
        return _stacked(predictions) if batch else predictions[0]

    def _classification(self, model: model_pb2.Model, image: image_pb2.Image) -> Flow[Prediction]:
        request = classification_service_pb2.CreateClassificationRequest(model=model.name, image=image)
        reply = yield from self._caller.unary(CLASSIFY, request, classification_service_pb2.Classification)
        read = list(reply.labels)
        return Prediction(
            model=reply.model,
            model_version=reply.model_version,
            model_digest=reply.model_digest,
            labels=tuple(score.label for score in read) or tuple(model.labels),
            thresholds=tuple(score.threshold for score in read),
            values=np.array([s.probability for s in read], np.float32) if read else tensor_array(reply.mask),
        )

    def _reconstruction(self, model: model_pb2.Model, image: image_pb2.Image) -> Flow[Prediction]:
        request = reconstruction_service_pb2.CreateReconstructionRequest(model=model.name, image=image)
        reply = yield from self._caller.unary(RECONSTRUCT, request, reconstruction_service_pb2.Reconstruction)
        return Prediction(
            model=reply.model,
            model_version=reply.model_version,
            model_digest=reply.model_digest,
            labels=(),
            thresholds=(),
            values=tensor_array(reply.image),
        )


def _stacked(parts: list[Prediction]) -> Prediction:
    first = parts[0]
    values = np.stack([part.values for part in parts])
    return Prediction(
        first.model, first.model_version, first.model_digest, first.labels, first.thresholds, values, batch=True
    )


class ModelState:
    """A served model as the registry describes it."""

    def __init__(self, proto: model_pb2.Model) -> None:
        self.proto = proto

    @property
    def name(self) -> str:
        return self.proto.name

    @property
    def task(self) -> str:
        """What it does: "reconstruction", "classification", "text-to-image", "super-resolution" and so on."""
        return model_pb2.Task.Name(self.proto.task).removeprefix("TASK_").lower().replace("_", "-")

    def to_json(self) -> dict[str, Any]:
        """As REST gives it."""
        return api_json(self.proto)

    def to_dict(self) -> dict[str, Any]:
        """A table's row."""
        proto = self.proto
        return {
            "name": proto.name,
            "version": proto.version,
            "task": self.task,
            "family": proto.family,
            "input": [proto.input.channels, proto.input.height, proto.input.width],
            "labels": list(proto.labels),
            "conditions": {condition.name: vocabulary(condition) for condition in proto.conditions},
            "mask_labels": list(proto.mask_labels),
            "factor": proto.factor or None,
            "samplers": list(proto.samplers),
            "default_steps": proto.default_steps or None,
            "default_guidance": proto.default_guidance_scale or None,
            "prompt_tokens": proto.prompt_tokens or None,
            "base": proto.base,
            "lineage": api_json(proto.lineage) if proto.HasField("lineage") else {},
            "audits": [audit.audit for audit in proto.audits],
            "thresholds": dict(proto.thresholds),
            "scores": dict(proto.scores),
            "backend": proto.backend,
            "licence": proto.licence,
            "digest": proto.digest,
        }

    def __repr__(self) -> str:
        return f"<{self.name} version {self.proto.version} {self.task}>"


def vocabulary(condition: model_pb2.Condition) -> str:
    """What an attribute may be, in words: "Female, Male" or "18 to 95"."""
    return ", ".join(condition.levels) or f"{condition.low:g} to {condition.high:g}"


class ModelHandle:
    """``client.models["xray-unet"]``: a name; nothing is asked until it is used."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self.name = client, resource_name("models", name)

    def describe(self) -> ModelState:
        """What the registry says of it. NotFound if it is not served."""
        return self._client.models.get(self.name)

    def infer(self, image: ImageLike) -> Prediction:
        """One image, or a batch (N, C, H, W), through the model; see :func:`evenhand.images.image_protos`."""
        return self._client.run(self._client.models.calls.infer(self.name, image))


class AsyncModelHandle:
    """The asyncio twin of :class:`ModelHandle`."""

    def __init__(self, client: AsyncClient, name: str) -> None:
        self._client, self.name = client, resource_name("models", name)

    async def describe(self) -> ModelState:
        """What the registry says of it."""
        return await self._client.models.get(self.name)

    async def infer(self, image: ImageLike) -> Prediction:
        """As :meth:`ModelHandle.infer`; up to 16 images of a batch are under way at once."""
        return await self._client.run(self._client.models.calls.infer(self.name, image))


class Models:
    """``client.models``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.calls = ModelCalls(client.caller)

    def __getitem__(self, name: str) -> ModelHandle:
        return ModelHandle(self._client, name)

    def get(self, name: str, *, audits: bool = False) -> ModelState:
        """One model, "xray-unet" or "xray-unet@2". NotFound if it is not served.

        With ``audits`` also the finished audits that judged this version, with what changed from before to after
        (:func:`evenhand.before_after.changes_table`).
        """
        return ModelState(self._client.run(self.calls.get(name, audits=audits)))

    def list(self, limit: int | None = None) -> Listing[ModelState]:
        """Served models in order of their names."""
        return Listing(ModelState(proto) for proto in self._client.run(self.calls.listing(limit)))


class AsyncModels:
    """``async_client.models``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.calls = ModelCalls(client.caller)

    def __getitem__(self, name: str) -> AsyncModelHandle:
        return AsyncModelHandle(self._client, name)

    async def get(self, name: str, *, audits: bool = False) -> ModelState:
        """One model; see :meth:`Models.get`."""
        return ModelState(await self._client.run(self.calls.get(name, audits=audits)))

    async def list(self, limit: int | None = None) -> Listing[ModelState]:
        """Served models in order of their names."""
        return Listing(ModelState(proto) for proto in await self._client.run(self.calls.listing(limit)))
