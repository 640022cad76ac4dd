"""Counterfactuals: one synthetic patient under changing attributes, frame by frame."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Unpack

import pandas as pd
from google.longrunning import operations_pb2

from evenhand.calls import Caller, Flow, new_request_id
from evenhand.generation.v1 import counterfactual_pb2, generation_service_pb2
from evenhand.models import ModelCalls
from evenhand.operations import AsyncOperation, Operation
from evenhand.resources.v1 import model_pb2
from evenhand.sampling import Attributes, Changing, counterfactual_spec, fitting_model
from evenhand.synthetic import AsyncCollection, AsyncSynthetic, Collection, CollectionCalls, Kind, Synthetic

if TYPE_CHECKING:
    from evenhand.client import AsyncClient, Client

SERVICE = "evenhand.generation.v1.GenerationService"
KIND = Kind(SERVICE, "Counterfactual", "counterfactuals", counterfactual_pb2.Counterfactual, generation_service_pb2)
TRACE, VIDEO, PAGE = "trace.parquet", "video.mp4", "counterfactual.html"


class CounterfactualCalls(CollectionCalls):
    """The flows of GenerationService about counterfactuals."""

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller, KIND)

    def create(
        self, source: Attributes, target: Attributes, settings: Changing, display_name: str, request_id: str | None
    ) -> Flow[operations_pb2.Operation]:
        spec = counterfactual_spec(source, target, settings)
        if not spec.model:
            spec.model = yield from fitting_model(ModelCalls(self.caller), model_pb2.TASK_CLASS_TO_IMAGE)
        request = generation_service_pb2.CreateCounterfactualRequest(
            spec=spec, display_name=display_name, request_id=request_id or new_request_id()
        )
        return (yield from self.caller.unary(f"{SERVICE}/CreateCounterfactual", request, operations_pb2.Operation))


class Counterfactual(Synthetic):
    """One counterfactual: its frames, its video and what was measured on them."""

    counted = "frames_done"

    @property
    def warnings(self) -> list[str]:
        """What a reader has to know."""
        return list(self.proto.warnings)

    def to_pandas(self) -> pd.DataFrame:
        """The trace, one row per frame: measured features and the classifier's probabilities."""
        return pd.read_parquet(io.BytesIO(self.read(TRACE)))

    def video(self) -> bytes:
        """The MP4 file."""
        return self.read(VIDEO)


class AsyncCounterfactual(AsyncSynthetic):
    """The asyncio twin of :class:`Counterfactual`."""

    counted = "frames_done"

    @property
    def warnings(self) -> list[str]:
        """What a reader has to know."""
        return list(self.proto.warnings)

    async def to_pandas(self) -> pd.DataFrame:
        """The trace, one row per frame."""
        return pd.read_parquet(io.BytesIO(await self.read(TRACE)))

    async def video(self) -> bytes:
        """The MP4 file."""
        return await self.read(VIDEO)


class Counterfactuals(Collection[Counterfactual]):
    """``client.counterfactuals``."""

    calls: CounterfactualCalls

    def __init__(self, client: Client) -> None:
        super().__init__(client, CounterfactualCalls(client.caller), Counterfactual)

    def create(
        self,
        source: Attributes,
        target: Attributes,
        *,
        display_name: str = "",
        request_id: str | None = None,
        **settings: Unpack[Changing],
    ) -> Operation[Counterfactual]:
        """Start one from ``source`` ({"sex": "Female"}) to ``target`` ({"sex": "Male"}): only attributes that change.

        Everything else is in `sampling.Changing`: ``held``, ``frames``, ``classifier_model`` and so on. Frames that are
        done survive a restart of the platform.
        """
        proto = self._client.run(self.calls.create(source, target, settings, display_name, request_id))
        return Operation(self._client, proto, self.decode)


class AsyncCounterfactuals(AsyncCollection[AsyncCounterfactual]):
    """``async_client.counterfactuals``."""

    calls: CounterfactualCalls

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(client, CounterfactualCalls(client.caller), AsyncCounterfactual)

    async def create(
        self,
        source: Attributes,
        target: Attributes,
        *,
        display_name: str = "",
        request_id: str | None = None,
        **settings: Unpack[Changing],
    ) -> AsyncOperation[AsyncCounterfactual]:
        """Start one; see :meth:`Counterfactuals.create`."""
        proto = await self._client.run(self.calls.create(source, target, settings, display_name, request_id))
        return AsyncOperation(self._client, proto, self.decode)
