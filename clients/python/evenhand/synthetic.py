"""What generations, counterfactuals and upscalings have in common: where they stand, their files, their collections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from google.protobuf import any_pb2, empty_pb2
from google.protobuf.message import Message

from evenhand.artifacts import Artifact, artifacts_of, read_artifact, write_whole
from evenhand.calls import Caller, Flow, resource_name
from evenhand.errors import NotFound
from evenhand.images import Floats
from evenhand.listing import Listing, api_json
from evenhand.operations import AsyncOperation, Operation
from evenhand.pictures import pixels_of_file
from evenhand.resources.v1 import state_pb2

if TYPE_CHECKING:
    from evenhand.client import AsyncClient, Client

_PICTURE = re.compile(r"(image|frame)(-\d+)?\.(npy|png)")


@dataclass(frozen=True)
class Kind:
    """One collection of the API, such as "generations" of GenerationService with the noun Generation."""

    service: str
    noun: str
    collection: str
    resource: type[Any]
    messages: Any  # the module with the requests

    def request(self, verb: str, **fields: Any) -> Any:
        """ "Get" → GetGenerationRequest."""
        return getattr(self.messages, f"{verb}{self.noun if verb != 'List' else self._plural}Request")(**fields)

    @property
    def page(self) -> type[Message]:
        found: type[Message] = getattr(self.messages, f"List{self._plural}Response")
        return found

    @property
    def _plural(self) -> str:
        return f"{self.noun}s"

    def unpacked(self, packed: any_pb2.Any) -> Any:
        """The resource in an operation's response."""
        proto = self.resource()
        packed.Unpack(proto)
        return proto


class CollectionCalls:
    """The flows that each of these collections has."""

    def __init__(self, caller: Caller, kind: Kind) -> None:
        self.caller, self.kind = caller, kind

    def get(self, name: str) -> Flow[Any]:
        request = self.kind.request("Get", name=resource_name(self.kind.collection, name))
        return self.caller.unary(f"{self.kind.service}/Get{self.kind.noun}", request, self.kind.resource)

    def listing(self, model: str, limit: int | None) -> Flow[list[Any]]:
        request = self.kind.request("List", model=resource_name("models", model) if model else "")
        method = f"{self.kind.service}/List{self.kind.noun}s"
        return self.caller.pages(method, request, self.kind.page, self.kind.collection, limit)

    def delete(self, name: str) -> Flow[None]:
        request = self.kind.request("Delete", name=resource_name(self.kind.collection, name))
        return self.caller.delete(f"{self.kind.service}/Delete{self.kind.noun}", request, empty_pb2.Empty)


class SyntheticState:
    """A generation, counterfactual or upscaling as the server described it."""

    counted = ""  # the field that counts what is done

    def __init__(self, proto: Any) -> None:
        self.proto = proto

    @property
    def name(self) -> str:
        name: str = self.proto.name
        return name

    @property
    def operation_name(self) -> str:
        name: str = self.proto.operation
        return name

    @property
    def state(self) -> str:
        """ "pending", "running", "succeeded", "failed" or "cancelled"."""
        return state_pb2.State.Name(self.proto.state).removeprefix("STATE_").lower()

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        return artifacts_of(self.proto)

    @property
    def create_time(self) -> datetime | None:
        """In UTC."""
        proto = self.proto
        return proto.create_time.ToDatetime(tzinfo=UTC) if proto.HasField("create_time") else None

    def picture_files(self) -> list[str]:
        """Names of the images' or frames' files in order: NPY where there are any, which keep every bit, else PNG."""
        names = sorted(a.filename for a in self.artifacts if _PICTURE.fullmatch(a.filename))
        exact = [name for name in names if name.endswith(".npy")]
        if not names:
            hint = 'ask for formats=["npy"] or ["png"]' if self.artifacts else "wait for its operation"
            raise NotFound(f"{self.name} has no images to read", field=self.name, reason="NO_IMAGES", hint=hint)
        return exact or names

    def to_json(self) -> dict[str, Any]:
        """As REST gives it."""
        return api_json(self.proto)

    def to_dict(self) -> dict[str, Any]:
        """A table's row."""
        proto, spec = self.proto, self.proto.spec
        return {
            "name": proto.name,
            "display_name": proto.display_name,
            "state": self.state,
            "model": spec.model,
            "model_version": proto.model_version,
            "seed": spec.seed,
            "sampler": spec.sampler,
            "steps": spec.steps,
            **({"done": getattr(proto, self.counted)} if self.counted else {}),
            "operation": proto.operation,
            "device": proto.device,
            "model_digest": proto.model_digest,
            "noise_digest": proto.noise_digest,
            "artifacts": [artifact.filename for artifact in self.artifacts],
            "create_time": proto.create_time.ToJsonString() if proto.HasField("create_time") else None,
        }

    def __repr__(self) -> str:
        return f"<{self.name} {self.state} {self.proto.spec.model} seed {self.proto.spec.seed}>"


S = TypeVar("S", bound="Synthetic")
A = TypeVar("A", bound="AsyncSynthetic")


class Synthetic(SyntheticState):
    """One of them, with its files."""

    def __init__(self, client: Client, proto: Any) -> None:
        super().__init__(proto)
        self._client = client

    def operation(self) -> Operation[Any]:
        """Its operation: to wait for it, or to cancel it."""
        return self._client.operations.get(self.operation_name)

    def read(self, filename: str) -> bytes:
        """One artifact, whole or not at all."""
        return self._client.run(read_artifact(self._client.caller, self.name, filename))

    def download(self, folder: str | Path, filenames: Sequence[str] = ()) -> list[Path]:
        """Write artifacts (all of them by default) into a folder; a file is there whole or not at all."""
        names = filenames or [artifact.filename for artifact in self.artifacts]
        return [write_whole(Path(folder) / Path(name).name, self.read(name)) for name in names]

    def images(self) -> Floats:
        """All images or frames, (N, C, H, W) float32 in [0, 1]: every bit where NPY was among the formats."""
        return np.stack([pixels_of_file(self.read(name), name) for name in self.picture_files()])


class AsyncSynthetic(SyntheticState):
    """The asyncio twin of :class:`Synthetic`."""

    def __init__(self, client: AsyncClient, proto: Any) -> None:
        super().__init__(proto)
        self._client = client

    async def operation(self) -> AsyncOperation[Any]:
        """Its operation: to wait for it, or to cancel it."""
        return await self._client.operations.get(self.operation_name)

    async def read(self, filename: str) -> bytes:
        """One artifact, whole or not at all."""
        return await self._client.run(read_artifact(self._client.caller, self.name, filename))

    async def download(self, folder: str | Path, filenames: Sequence[str] = ()) -> list[Path]:
        """Write artifacts (all of them by default) into a folder."""
        names = filenames or [artifact.filename for artifact in self.artifacts]
        return [write_whole(Path(folder) / Path(name).name, await self.read(name)) for name in names]

    async def images(self) -> Floats:
        """All images or frames, (N, C, H, W) float32 in [0, 1]."""
        return np.stack([pixels_of_file(await self.read(name), name) for name in self.picture_files()])


class Collection(Generic[S]):
    """What a blocking collection can do whatever it holds."""

    def __init__(self, client: Client, calls: CollectionCalls, made: type[S]) -> None:
        self._client, self.calls, self._made = client, calls, made

    def get(self, name: str) -> S:
        """One of them. NotFound if there is none of that name."""
        return self._made(self._client, self._client.run(self.calls.get(name)))

    def list(self, *, model: str = "", limit: int | None = None) -> Listing[S]:
        """Newest first."""
        found = self._client.run(self.calls.listing(model, limit))
        return Listing(self._made(self._client, proto) for proto in found)

    def delete(self, name: str) -> None:
        """Forget a finished one. FailedPrecondition while it runs."""
        self._client.run(self.calls.delete(name))

    def decode(self, packed: any_pb2.Any) -> S:
        """What an operation made."""
        return self._made(self._client, self.calls.kind.unpacked(packed))


class AsyncCollection(Generic[A]):
    """What an asyncio collection can do whatever it holds."""

    def __init__(self, client: AsyncClient, calls: CollectionCalls, made: type[A]) -> None:
        self._client, self.calls, self._made = client, calls, made

    async def get(self, name: str) -> A:
        """One of them. NotFound if there is none of that name."""
        return self._made(self._client, await self._client.run(self.calls.get(name)))

    async def list(self, *, model: str = "", limit: int | None = None) -> Listing[A]:
        """Newest first."""
        found = await self._client.run(self.calls.listing(model, limit))
        return Listing(self._made(self._client, proto) for proto in found)

    async def delete(self, name: str) -> None:
        """Forget a finished one. FailedPrecondition while it runs."""
        await self._client.run(self.calls.delete(name))

    def decode(self, packed: any_pb2.Any) -> A:
        """What an operation made."""
        return self._made(self._client, self.calls.kind.unpacked(packed))
