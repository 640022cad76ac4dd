"""Upscalings: one image with more pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict, Unpack

from google.longrunning import operations_pb2

from evenhand.calls import Caller, Flow, new_request_id
from evenhand.errors import ShapeMismatch
from evenhand.images import Floats, ImageLike, image_protos
from evenhand.models import ModelCalls
from evenhand.operations import AsyncOperation, Operation
from evenhand.resources.v1 import model_pb2
from evenhand.sampling import fitting_model, upscaling_spec
from evenhand.synthetic import AsyncCollection, AsyncSynthetic, Collection, CollectionCalls, Kind, Synthetic
from evenhand.upscaling.v1 import upscaling_pb2, upscaling_service_pb2

if TYPE_CHECKING:
    from evenhand.client import AsyncClient, Client

SERVICE = "evenhand.upscaling.v1.UpscalingService"
KIND = Kind(SERVICE, "Upscaling", "upscalings", upscaling_pb2.Upscaling, upscaling_service_pb2)


class Enlarging(TypedDict, total=False):
    """How to upscale; what is left out is the server's default.

    model: name of the model; may be left out where only one is served. tile: side of the tiles that an image larger
    than the model's input is cut into. formats: files to leave, of "png", "npy" and "dicom".
    """

    model: str
    sampler: str
    steps: int
    seed: int
    tile: int
    formats: Sequence[str]


class UpscalingCalls(CollectionCalls):
    """The flows of UpscalingService."""

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller, KIND)

    def create(
        self, image: ImageLike, settings: Enlarging, display_name: str, request_id: str | None
    ) -> Flow[operations_pb2.Operation]:
        images, batch = image_protos(image)
        if batch:
            raise ShapeMismatch("one image at a time: (H, W) or (C, H, W), or a file", field="image")
        spec = upscaling_spec(settings)
        if not spec.model:
            spec.model = yield from fitting_model(ModelCalls(self.caller), model_pb2.TASK_SUPER_RESOLUTION)
        request = upscaling_service_pb2.CreateUpscalingRequest(
            image=images[0], spec=spec, display_name=display_name, request_id=request_id or new_request_id()
        )
        return (yield from self.caller.unary(f"{SERVICE}/CreateUpscaling", request, operations_pb2.Operation))


class Upscaling(Synthetic):
    """One image with more pixels."""

    def image(self) -> Floats:
        """The image, (C, H, W) float32 in [0, 1]."""
        found: Floats = self.images()[0]
        return found


class AsyncUpscaling(AsyncSynthetic):
    """The asyncio twin of :class:`Upscaling`."""

    async def image(self) -> Floats:
        """The image, (C, H, W) float32 in [0, 1]."""
        found: Floats = (await self.images())[0]
        return found


class Upscalings(Collection[Upscaling]):
    """``client.upscalings``."""

    calls: UpscalingCalls

    def __init__(self, client: Client) -> None:
        super().__init__(client, UpscalingCalls(client.caller), Upscaling)

    def create(
        self, image: ImageLike, *, display_name: str = "", request_id: str | None = None, **settings: Unpack[Enlarging]
    ) -> Operation[Upscaling]:
        """Start an upscaling of a file or of canonical pixels (H, W) or (C, H, W); see :class:`Enlarging`."""
        proto = self._client.run(self.calls.create(image, settings, display_name, request_id))
        return Operation(self._client, proto, self.decode)


class AsyncUpscalings(AsyncCollection[AsyncUpscaling]):
    """``async_client.upscalings``."""

    calls: UpscalingCalls

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(client, UpscalingCalls(client.caller), AsyncUpscaling)

    async def create(
        self, image: ImageLike, *, display_name: str = "", request_id: str | None = None, **settings: Unpack[Enlarging]
    ) -> AsyncOperation[AsyncUpscaling]:
        """Start an upscaling; see :meth:`Upscalings.create`."""
        proto = await self._client.run(self.calls.create(image, settings, display_name, request_id))
        return AsyncOperation(self._client, proto, self.decode)
