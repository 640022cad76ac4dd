"""The generator application's handle methods over the ledger: requests and streams are real, its images are not."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
from evenhand.generation.v1 import generation_pb2
from evenhand.generation.v1 import generation_service_pb2 as pb
from evenhand.resources.v1 import image_pb2
from google.longrunning import operations_pb2
from google.protobuf.json_format import MessageToDict, MessageToJson

from services.adapters.ledger import ChunkSpec
from services.errors import InvalidInput, NotFound
from services.hosting.envelope import seal, seal_stream

SIDE = 8
STEPS = 4
PIXELS = {"channels": 1, "height": SIDE, "width": SIDE, "low": -1.0, "high": 1.0}
DIFFUSION = {"prediction": "v", "null_condition": True, "guidance_scale": 2.0, "default_steps": STEPS}
CONDITIONS = [{"name": "sex", "levels": ["Female", "Male"]}, {"name": "age", "low": 18.0, "high": 95.0}]


def entry(name, task, **more):
    described = {"name": name, "version": "1", "task": task, "family": "diffusion-unet", "input": PIXELS}
    return {
        **described,
        "output": PIXELS,
        "digest": name[0] * 64,
        "output_name": "image",
        "diffusion": DIFFUSION,
        **more,
    }


ENTRIES = [
    entry("pelvis", "class-to-image", conditions=CONDITIONS, samplers=["dpmpp-2m", "ddim"]),
    entry("words", "text-to-image", prompt_tokens=77),
    entry("masked", "mask-to-image", mask_phases=["ED", "ES"], mask_labels=["", "LV"], base={"name": "words"}),
    entry("larger", "super-resolution", factor=4, output={**PIXELS, "height": 4 * SIDE, "width": 4 * SIDE}),
]


class GeneratorTwin:
    """An image of its index over 16; a step takes ``pause_s``. ``step`` counts those that were begun, ``closed`` tells
    that a stream was left before its end."""

    def __init__(self, ledger):
        self._ledger = ledger
        self.pause_s = 0.01
        self.steps_begun = 0
        self.contexts = []
        self.inferred = []
        self.closed = threading.Event()

    def catalogue(self):
        return ENTRIES

    async def infer(self, model, version, inputs, parameters):
        self.inferred.append((model, {name: array.copy() for name, array in inputs.items()}, dict(parameters)))
        if parameters.get("sampler", "ddim") not in ("ddim", "dpmpp-2m"):
            raise InvalidInput("there is no such sampler", field="parameters.sampler", reason="SAMPLER_UNKNOWN")
        rows, side = len(next(iter(inputs.values()))), 4 * SIDE if model == "larger" else SIDE
        return {"image": np.full((rows, 1, side, side), 0.5, np.float32)}

    def GenerateImages(self, payload, context):
        self.contexts.append(context)
        return seal_stream(self._images(pb.GenerateImagesRequest.FromString(payload)))

    async def _images(self, request):
        spec = request.spec
        for name in spec.attributes:
            if name not in ("sex", "age"):
                raise InvalidInput(
                    f"there is no attribute {name!r}", field=f"spec.attributes[{name}]", reason="ATTRIBUTE_UNKNOWN"
                )
        try:
            for index in range(spec.first_index, spec.first_index + (spec.count or 1)):
                for step in range(1, STEPS + 1):
                    self.steps_begun += 1
                    await asyncio.sleep(self.pause_s)
                    if request.previews_every and step % request.previews_every == 0 and step < STEPS:
                        yield _reply(index, step, preview=True)
                if spec.negative_prompt == "fail":
                    raise RuntimeError("patient Smith")
                yield _reply(index, STEPS, record=generation_pb2.ImageRecord(spec=spec, synthetic=True))
        except (GeneratorExit, asyncio.CancelledError):
            self.closed.set()
            raise

    async def CreateGeneration(self, payload, context):
        return await seal(asyncio.to_thread(self._create, pb.CreateGenerationRequest.FromString(payload)))

    async def GetGeneration(self, payload, context):
        async def answer():
            name = pb.GetGenerationRequest.FromString(payload).name
            body = self._ledger.get_resource(name)
            if body is None:
                raise NotFound(f"there is no generation {name!r}", field="name", reason="GENERATION_NOT_FOUND")
            return generation_pb2.Generation(name=name, state=body["state"]).SerializeToString()

        return await seal(answer())

    def _create(self, request):
        operation, _ = self._ledger.create_operation(
            "generation",
            "generations/one",
            MessageToDict(request),
            [ChunkSpec("images", {}, rows=request.spec.count)],
            request_id=request.request_id,
            body_digest="b" * 64,
        )
        return operations_pb2.Operation(name=operation.name, done=operation.done).SerializeToString()


def _reply(index, step, *, preview=False, record=None):
    pixels = np.full((1, SIDE, SIDE), index / 16, "<f4")
    return pb.GenerateImagesResponse(
        index=index,
        preview=preview,
        step=step,
        steps=STEPS,
        image=image_pb2.Tensor(shape=pixels.shape, data=pixels.tobytes()),
        record_json=MessageToJson(record) if record else "",
    ).SerializeToString()
