"""The part of the platform's twin that makes synthetic images: pixels are the index over 16."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from typing import Any

import grpc
import numpy as np
import pandas as pd
from evenhand.generation.v1 import (
    counterfactual_pb2,
    generation_pb2,
    generation_service_pb2,
    generation_service_pb2_grpc,
)
from evenhand.resources.v1 import (
    artifact_pb2,
    artifact_service_pb2,
    artifact_service_pb2_grpc,
    image_pb2,
    model_pb2,
    state_pb2,
)
from evenhand.upscaling.v1 import upscaling_pb2, upscaling_service_pb2, upscaling_service_pb2_grpc
from google.protobuf import empty_pb2
from google.protobuf.json_format import MessageToDict
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from services.errors import InvalidInput, NotFound

STEPS = 4
SIDE = 4
SYNTHETIC_METADATA = (
    generation_service_pb2.CreateCounterfactualMetadata,
    generation_service_pb2.CreateGenerationMetadata,
    upscaling_service_pb2.CreateUpscalingMetadata,
)

MODELS = {
    "models/pelvis": model_pb2.Model(
        name="models/pelvis",
        version="1",
        task=model_pb2.TASK_CLASS_TO_IMAGE,
        family="diffusion-unet",
        conditions=[
            model_pb2.Condition(name="sex", levels=["Female", "Male"]),
            model_pb2.Condition(name="age", low=18, high=95),
        ],
        samplers=["dpmpp-2m", "ddim"],
        guidable=True,
    ),
    "models/words": model_pb2.Model(
        name="models/words", version="1", task=model_pb2.TASK_TEXT_TO_IMAGE, prompt_tokens=77
    ),
    "models/masked": model_pb2.Model(name="models/masked", version="1", task=model_pb2.TASK_MASK_TO_IMAGE),
    "models/larger": model_pb2.Model(name="models/larger", version="1", task=model_pb2.TASK_SUPER_RESOLUTION, factor=4),
}


def pixels_of(index: int) -> np.ndarray:
    return np.full((1, SIDE, SIDE), index / 16, np.float32)


def record_of(spec: generation_pb2.GenerationSpec, index: int) -> dict[str, Any]:
    """The record of one image, with proto names as the platform writes it."""
    record = generation_pb2.ImageRecord(spec=spec, device="cpu", synthetic=True, noise_digest="n" * 64)
    record.spec.first_index, record.spec.count = index, 1
    record.pixels_digest = hashlib.sha256(pixels_of(index).tobytes()).hexdigest()
    return MessageToDict(record, preserving_proto_field_name=True)


def png_of(pixels: np.ndarray, record: dict[str, Any]) -> bytes:
    words, file = PngInfo(), io.BytesIO()
    words.add_itxt("evenhand:record", json.dumps(record))
    Image.fromarray(np.rint(pixels[0] * 255).astype(np.uint8)).save(file, "PNG", pnginfo=words)
    return file.getvalue()


def npy_of(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, pixels)
    return file.getvalue()


class GenerationTwin(
    generation_service_pb2_grpc.GenerationServiceServicer, upscaling_service_pb2_grpc.UpscalingServiceServicer
):
    """Joined to the twin, which has the operations and the artifacts. ``step_s`` is what a step takes in a stream;
    ``left`` is set when a caller leaves one."""

    def __init__(self) -> None:
        self.synthetic: dict[str, Any] = {}
        self.step_s = 0.0
        self.left = threading.Event()
        self.streams: list[grpc.ServicerContext] = []

    def GenerateImages(self, request, context):
        self._enter("GenerateImages", request, context)
        self.streams.append(context)
        context.add_callback(lambda: context.code() is None and self.left.set())
        self._refuse_unknown(request.spec, context)
        first = request.spec.first_index
        for index in range(first, first + (request.spec.count or 1)):
            for step in range(1, STEPS + 1):
                time.sleep(self.step_s)
                if not context.is_active():
                    self.left.set()
                    return
                if request.previews_every and step % request.previews_every == 0 and step < STEPS:
                    yield _reply(index, step, "")
            yield _reply(index, STEPS, json.dumps(record_of(request.spec, index)))

    def CreateGeneration(self, request, context):
        self._enter("CreateGeneration", request, context)
        self._refuse_unknown(request.spec, context)
        made = self._begin(generation_pb2.Generation, "generations", request)
        spec = request.spec
        indices = range(spec.first_index, spec.first_index + (spec.count or 1))
        files = {"records.jsonl": "".join(json.dumps(record_of(spec, i)) + "\n" for i in indices).encode()}
        for index in indices:
            for ending in spec.formats or ["png"]:
                data = png_of(pixels_of(index), record_of(spec, index)) if ending == "png" else npy_of(pixels_of(index))
                files[f"image-{index:04d}.{ending}"] = data
        metadata = generation_service_pb2.CreateGenerationMetadata(
            stage="sampling", images_total=len(indices), steps_done=3, steps_total=12, generation=made.name
        )
        return self._start("CreateGeneration", request, context, metadata, lambda: self._ended(made, files))

    def CreateCounterfactual(self, request, context):
        self._enter("CreateCounterfactual", request, context)
        made = self._begin(counterfactual_pb2.Counterfactual, "counterfactuals", request)
        made.warnings.append("guidance 4 exaggerates the change 1.6 times")
        count = request.spec.frames or 180
        trace = io.BytesIO()
        pd.DataFrame({"frame": range(count), "distance": np.linspace(0, 1, count)}).to_parquet(trace)
        files = {f"frame-{index:04d}.npy": npy_of(pixels_of(index % 16)) for index in range(count)}
        files |= {"trace.parquet": trace.getvalue(), "video.mp4": b"moov"}
        metadata = generation_service_pb2.CreateCounterfactualMetadata(
            stage="sampling", frames_total=count, counterfactual=made.name
        )
        return self._start("CreateCounterfactual", request, context, metadata, lambda: self._ended(made, files))

    def CreateUpscaling(self, request, context):
        self._enter("CreateUpscaling", request, context)
        made = self._begin(upscaling_pb2.Upscaling, "upscalings", request)
        metadata = upscaling_service_pb2.CreateUpscalingMetadata(stage="sampling", tiles_total=1, upscaling=made.name)
        files = {"image.npy": npy_of(pixels_of(8))}
        return self._start("CreateUpscaling", request, context, metadata, lambda: self._ended(made, files))

    def _refuse_unknown(self, spec, context):
        for name in spec.attributes:
            if name not in ("sex", "age"):
                refused = InvalidInput(
                    "no such attribute", field=f"spec.attributes[{name}]", reason="ATTRIBUTE_UNKNOWN"
                )
                self._abort(context, refused)

    def _begin(self, kind, collection, request):
        name = f"{collection}/{len(self.operations) + 1}"
        state, operation = state_pb2.STATE_RUNNING, f"operations/{len(self.operations) + 1}"
        self.synthetic[name] = kind(
            name=name, display_name=request.display_name, spec=request.spec, state=state, operation=operation
        )
        return self.synthetic[name]

    def _ended(self, made, files):
        self.artifacts |= files
        for filename, data in files.items():
            artifact = artifact_pb2.Artifact(
                filename=filename, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)
            )
            made.artifacts.append(artifact)
        made.state = state_pb2.STATE_SUCCEEDED
        return made

    def _found(self, method, request, context):
        self._enter(method, request, context)
        if request.name not in self.synthetic:
            reason = f"{method.removeprefix('Get').removeprefix('Delete').upper()}_NOT_FOUND"
            self._abort(context, NotFound("there is none of that name", field="name", reason=reason))
        return self.synthetic[request.name]

    def GetGeneration(self, request, context):
        return self._found("GetGeneration", request, context)

    def GetCounterfactual(self, request, context):
        return self._found("GetCounterfactual", request, context)

    def GetUpscaling(self, request, context):
        return self._found("GetUpscaling", request, context)

    def _deleted(self, method, request, context):
        self._found(method, request, context)
        del self.synthetic[request.name]
        return empty_pb2.Empty()

    def DeleteGeneration(self, request, context):
        return self._deleted("DeleteGeneration", request, context)

    def DeleteCounterfactual(self, request, context):
        return self._deleted("DeleteCounterfactual", request, context)

    def DeleteUpscaling(self, request, context):
        return self._deleted("DeleteUpscaling", request, context)

    def _listed(self, method, collection, request, context):
        self._enter(method, request, context)
        held = [made for name, made in self.synthetic.items() if name.startswith(collection)]
        return [made for made in held if request.model in ("", made.spec.model)]

    def ListGenerations(self, request, context):
        found = self._listed("ListGenerations", "generations/", request, context)
        return generation_service_pb2.ListGenerationsResponse(generations=found)

    def ListCounterfactuals(self, request, context):
        found = self._listed("ListCounterfactuals", "counterfactuals/", request, context)
        return generation_service_pb2.ListCounterfactualsResponse(counterfactuals=found)

    def ListUpscalings(self, request, context):
        found = self._listed("ListUpscalings", "upscalings/", request, context)
        return upscaling_service_pb2.ListUpscalingsResponse(upscalings=found)


class ArtifactTwin(artifact_service_pb2_grpc.ArtifactServiceServicer):
    """ArtifactService over the twin's artifacts, with the faults that it is told to have."""

    def __init__(self, twin: Any) -> None:
        self._twin = twin

    def ReadArtifact(self, request, context):
        for reply in self._twin.ReadArtifact(request, context):
            yield artifact_service_pb2.ReadArtifactResponse(data=reply.data, sha256=reply.sha256)


def _reply(index: int, step: int, record_json: str) -> generation_service_pb2.GenerateImagesResponse:
    pixels = pixels_of(index)
    return generation_service_pb2.GenerateImagesResponse(
        index=index,
        preview=not record_json,
        step=step,
        steps=STEPS,
        image=image_pb2.Tensor(shape=pixels.shape, data=pixels.tobytes()),
        record_json=record_json,
    )


def add_to_server(twin: Any, server: grpc.Server) -> None:
    generation_service_pb2_grpc.add_GenerationServiceServicer_to_server(twin, server)
    upscaling_service_pb2_grpc.add_UpscalingServiceServicer_to_server(twin, server)
    artifact_service_pb2_grpc.add_ArtifactServiceServicer_to_server(ArtifactTwin(twin), server)
