"""Training runs of the platform's recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.longrunning import operations_pb2
from google.protobuf import any_pb2

from evenhand.alignment import Alignment
from evenhand.calls import Caller, Flow, new_request_id, resource_name
from evenhand.errors import FailedPrecondition
from evenhand.listing import Listing, api_json
from evenhand.operations import AsyncOperation, Operation
from evenhand.training.v1 import training_pb2, training_service_pb2
from evenhand.tuning import FineTuning

if TYPE_CHECKING:
    from evenhand.client import AsyncClient, Client

SERVICE = "evenhand.training.v1.TrainingService"


class TrainingCalls:
    """The flows of TrainingService."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def create(
        self,
        recipe: str,
        *,
        seed: int,
        epochs: int,
        patients: int,
        tuning: FineTuning | Alignment | None,
        request_id: str | None,
    ) -> Flow[operations_pb2.Operation]:
        request = training_service_pb2.CreateTrainingRequest(
            recipe=recipe,
            seed=seed,
            epochs=epochs,
            patients=patients,
            request_id=request_id or new_request_id(),
            **(tuning.fields() if tuning else {}),
        )
        return self._caller.unary(f"{SERVICE}/CreateTraining", request, operations_pb2.Operation)

    def get(self, name: str) -> Flow[training_pb2.Training]:
        request = training_service_pb2.GetTrainingRequest(name=resource_name("trainings", name))
        return self._caller.unary(f"{SERVICE}/GetTraining", request, training_pb2.Training)

    def listing(self, limit: int | None) -> Flow[list[training_pb2.Training]]:
        request = training_service_pb2.ListTrainingsRequest()
        reply = training_service_pb2.ListTrainingsResponse
        return self._caller.pages(f"{SERVICE}/ListTrainings", request, reply, "trainings", limit)


class Training:
    """One training run."""

    def __init__(self, proto: training_pb2.Training) -> None:
        self.proto = proto

    @property
    def name(self) -> str:
        return self.proto.name

    @property
    def model(self) -> str:
        """The package it left in the registry, "models/…"; empty until it succeeded."""
        return self.proto.model

    @property
    def scores(self) -> dict[str, float]:
        """Held-out scores by metric name."""
        return dict(self.proto.scores)

    @property
    def versions(self) -> list[dict[str, Any]]:
        """Of a fine-tuning, one for each λ: version, digest, weight, chosen, epochs_kept and both scores."""
        return [
            {
                "version": one.version,
                "digest": one.digest,
                "weight": one.weight,
                "chosen": one.chosen,
                "epochs_kept": one.epochs_kept,
                "validation_scores": dict(one.validation_scores),
                "scores": dict(one.scores),
            }
            for one in self.proto.versions
        ]

    @property
    def tuned_models(self) -> tuple[str, ...]:
        """ "models/xray-unet@2" of every version that a fine-tuning left.

        Raises:
            FailedPrecondition: it was none, or it has left nothing yet.
        """
        if not self.proto.base:
            raise FailedPrecondition(f"{self.name} trained from scratch; there is no model before it", field="name")
        if not self.proto.versions:
            raise FailedPrecondition(
                f"{self.name} has left no version yet",
                field="name",
                hint=f"evenhand operations wait {self.proto.operation}",
            )
        return tuple(f"{self.proto.model or self.proto.base}@{one.version}" for one in self.proto.versions)

    def to_json(self) -> dict[str, Any]:
        """As REST gives it."""
        return api_json(self.proto)

    def to_dict(self) -> dict[str, Any]:
        """A table's row."""
        proto = self.proto
        return {
            "name": proto.name,
            "recipe": proto.recipe,
            "operation": proto.operation,
            "seed": proto.seed,
            "epochs": proto.epochs,
            "model": proto.model,
            "model_version": proto.model_version,
            "base": f"{proto.base}@{proto.base_version}" if proto.base else "",
            "scores": self.scores,
            "create_time": proto.create_time.ToJsonString() if proto.HasField("create_time") else None,
        }

    def __repr__(self) -> str:
        return f"<{self.name} {self.proto.recipe} {self.model or 'unfinished'}>"


def unpacked_training(packed: any_pb2.Any) -> Training:
    """The training run in an operation's response."""
    proto = training_pb2.Training()
    packed.Unpack(proto)
    return Training(proto)


class Trainings:
    """``client.trainings``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.calls = TrainingCalls(client.caller)

    def create(
        self,
        recipe: str,
        *,
        seed: int = 1,
        epochs: int = 0,
        patients: int = 0,
        tuning: FineTuning | Alignment | None = None,
        request_id: str | None = None,
    ) -> Operation[Training]:
        """Start a recipe, such as "chest-classifier"; 0 means the recipe's own number of epochs or patients.

        With ``tuning`` a model is gone on from. Of a :class:`~evenhand.tuning.FineTuning` (of a reconstruction model)
        patients are the most training patients of a cohort, 0 for all; of an :class:`~evenhand.alignment.Alignment` (of
        a text-to-image model) the recipe is "sdat" and epochs are its iterations.
        """
        flow = self.calls.create(
            recipe, seed=seed, epochs=epochs, patients=patients, tuning=tuning, request_id=request_id
        )
        proto = self._client.run(flow)
        return Operation(self._client, proto, unpacked_training)

    def get(self, name: str) -> Training:
        """One training run. NotFound if there is none of that name."""
        return Training(self._client.run(self.calls.get(name)))

    def list(self, limit: int | None = None) -> Listing[Training]:
        """Training runs, newest first."""
        return Listing(Training(proto) for proto in self._client.run(self.calls.listing(limit)))


class AsyncTrainings:
    """``async_client.trainings``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.calls = TrainingCalls(client.caller)

    async def create(
        self,
        recipe: str,
        *,
        seed: int = 1,
        epochs: int = 0,
        patients: int = 0,
        tuning: FineTuning | Alignment | None = None,
        request_id: str | None = None,
    ) -> AsyncOperation[Training]:
        """Start a recipe; see :meth:`Trainings.create`."""
        flow = self.calls.create(
            recipe, seed=seed, epochs=epochs, patients=patients, tuning=tuning, request_id=request_id
        )
        proto = await self._client.run(flow)
        return AsyncOperation(self._client, proto, unpacked_training)

    async def get(self, name: str) -> Training:
        """One training run. NotFound if there is none of that name."""
        return Training(await self._client.run(self.calls.get(name)))

    async def list(self, limit: int | None = None) -> Listing[Training]:
        """Training runs, newest first."""
        return Listing(Training(proto) for proto in await self._client.run(self.calls.listing(limit)))
