"""An in-memory twin of the platform's gRPC edge, on a real socket: what the client is tested against."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

import grpc
import numpy as np
from evenhand.audit.v1 import audit_pb2, audit_service_pb2, audit_service_pb2_grpc
from evenhand.classification.v1 import classification_service_pb2, classification_service_pb2_grpc
from evenhand.cohort.v1 import cohort_pb2, cohort_service_pb2, cohort_service_pb2_grpc
from evenhand.monitoring.v1 import monitoring_service_pb2_grpc
from evenhand.reconstruction.v1 import reconstruction_service_pb2, reconstruction_service_pb2_grpc
from evenhand.resources.v1 import image_pb2, model_pb2, model_service_pb2, model_service_pb2_grpc
from evenhand.training.v1 import training_pb2, training_service_pb2, training_service_pb2_grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import any_pb2, empty_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.adapters.status import status_from_error, trailing_metadata
from services.errors import Cancelled, Conflict, FailedPrecondition, InvalidInput, NotFound, ServiceError
from tests.client.artifacts import demo_artifacts, demo_plan
from tests.client.balancing import synthetic_cohort
from tests.client.generation_twin import SYNTHETIC_METADATA, GenerationTwin, add_to_server
from tests.client.monitoring_twin import MonitoringTwin

CHUNK = 1000  # bytes per message of an artifact: small, so that streams have many messages
SERVICES = (
    "evenhand.audit.v1.AuditService",
    "evenhand.classification.v1.ClassificationService",
    "evenhand.cohort.v1.CohortService",
    "evenhand.generation.v1.GenerationService",
    "evenhand.monitoring.v1.MonitoringService",
    "evenhand.reconstruction.v1.ReconstructionService",
    "evenhand.resources.v1.ArtifactService",
    "evenhand.resources.v1.ModelService",
    "evenhand.training.v1.TrainingService",
    "evenhand.upscaling.v1.UpscalingService",
    "google.longrunning.Operations",
)


class Twin(
    GenerationTwin,
    MonitoringTwin,
    audit_service_pb2_grpc.AuditServiceServicer,
    classification_service_pb2_grpc.ClassificationServiceServicer,
    cohort_service_pb2_grpc.CohortServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
    operations_pb2_grpc.OperationsServicer,
    reconstruction_service_pb2_grpc.ReconstructionServiceServicer,
    training_service_pb2_grpc.TrainingServiceServicer,
):
    """Keeps everything in memory, answers as the API says, and fails where a test asks it to.

    ``failures[method]`` is a list of errors to answer the next calls with. ``lost_replies[method]`` counts calls that
    do their work and whose reply is lost. Operations do a quarter of their rows at each WaitOperation, and do not end
    before ``hold`` is set. ``cut_after`` ends an artifact's stream before that message.
    """

    def __init__(self) -> None:
        GenerationTwin.__init__(self)
        MonitoringTwin.__init__(self)
        self.failures: dict[str, list[ServiceError]] = {}
        self.lost_replies: Counter[str] = Counter()
        self.calls: list[tuple[str, Any]] = []
        self.metadata: list[dict[str, str]] = []
        self.operations: dict[str, operations_pb2.Operation] = {}
        self.outcomes: dict[str, Callable[[], any_pb2.Any]] = {}
        self.by_request_id: dict[str, tuple[bytes, str]] = {}
        self.cohorts: dict[str, cohort_pb2.Cohort] = {}
        self.audits: dict[str, audit_pb2.Audit] = {}
        self.trainings: dict[str, training_pb2.Training] = {}
        self.uploads: dict[str, dict[str, bytes]] = {}
        self.artifacts: dict[str, bytes] = {}
        self.cut_after: int | None = None
        self.cut_status: grpc.StatusCode | None = None
        self.wrong_sha256 = False
        self.fail_operation_with: ServiceError | None = None
        self.hold = threading.Event()
        self.hold.set()
        self.most_at_once = 0
        self._running = 0
        self._lock = threading.Lock()
        self.models = {
            "models/chest-classifier": model_pb2.Model(
                name="models/chest-classifier",
                version="1",
                task=model_pb2.TASK_CLASSIFICATION,
                family="resnet18",
                input=model_pb2.PixelSpec(channels=1, height=64, width=64, high=1),
                labels=["Edema", "Fracture"],
                thresholds={"Edema": 0.25, "Fracture": 0.75},
                digest="c" * 64,
            ),
            "models/xray-unet": model_pb2.Model(
                name="models/xray-unet", version="1", task=model_pb2.TASK_RECONSTRUCTION, family="unet", digest="x" * 64
            ),
            "models/tumour-segmenter": model_pb2.Model(
                name="models/tumour-segmenter",
                version="1",
                task=model_pb2.TASK_SEGMENTATION,
                family="unet",
                labels=["tumour"],
            ),
        }

    # What every method does first and last.

    def _enter(self, method: str, request: Any, context: grpc.ServicerContext) -> None:
        with self._lock:
            self.calls.append((method, request))
            self.metadata.append({key: str(value) for key, value in context.invocation_metadata()})
            planned = self.failures.get(method, [])
            error = planned.pop(0) if planned else None
        if error is not None:
            self._abort(context, error)

    def _leave(self, method: str, context: grpc.ServicerContext) -> None:
        if self.lost_replies[method] > 0:
            self.lost_replies[method] -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")

    def _abort(self, context: grpc.ServicerContext, error: ServiceError) -> None:
        context.set_trailing_metadata(trailing_metadata(error))
        context.abort(grpc.StatusCode[error.status], error.message)

    def called(self, method: str) -> list[Any]:
        return [request for name, request in self.calls if name == method]

    # Operations.

    def _start(
        self, method: str, request: Any, context: grpc.ServicerContext, metadata: Any, outcome: Callable[[], Any]
    ) -> operations_pb2.Operation:
        body = request.SerializeToString(deterministic=True)
        with self._lock:
            known = self.by_request_id.get(request.request_id)
            if known is None:
                name = f"operations/{len(self.operations) + 1}"
                operation = operations_pb2.Operation(name=name)
                operation.metadata.Pack(metadata)
                self.operations[name], self.outcomes[name] = operation, outcome
                self.by_request_id[request.request_id] = (body, name)
                known = (body, name)
        if known[0] != body:
            self._abort(context, Conflict("this request_id was used with another body", field="request_id"))
        self._leave(method, context)
        return self._snapshot(known[1])

    def _snapshot(self, name: str) -> operations_pb2.Operation:
        copy = operations_pb2.Operation()
        with self._lock:
            copy.CopyFrom(self.operations[name])
        return copy

    def _advance(self, name: str) -> None:
        """A quarter of the rows further; at the end the outcome."""
        with self._lock:
            operation = self.operations[name]
            if operation.done:
                return
            metadata = _unpacked(operation.metadata)
            if hasattr(metadata, "rows_total"):
                metadata.rows_done = min(metadata.rows_total, metadata.rows_done + metadata.rows_total // 4)
                metadata.rows_per_s, metadata.eta_s, metadata.stage = 50.0, 2.0, "running"
                operation.metadata.Pack(metadata)
                if metadata.rows_done < metadata.rows_total:
                    return
            if not self.hold.is_set():
                return
            operation.done = True
            if self.fail_operation_with is not None:
                operation.error.CopyFrom(status_from_error(self.fail_operation_with))
            else:
                operation.response.CopyFrom(_packed(self.outcomes[name]()))

    def GetOperation(self, request, context):
        self._enter("GetOperation", request, context)
        if request.name not in self.operations:
            self._abort(context, NotFound("no such operation", field=request.name, reason="OPERATION_NOT_FOUND"))
        return self._snapshot(request.name)

    def WaitOperation(self, request, context):
        self._enter("WaitOperation", request, context)
        if request.name not in self.operations:
            self._abort(context, NotFound("no such operation", field=request.name, reason="OPERATION_NOT_FOUND"))
        self._advance(request.name)
        end = time.monotonic() + min(0.02, request.timeout.ToMilliseconds() / 1000)
        while not self._snapshot(request.name).done and time.monotonic() < end:
            time.sleep(0.005)
        return self._snapshot(request.name)

    def ListOperations(self, request, context):
        self._enter("ListOperations", request, context)
        page, token = _page(list(self.operations.values()), request)
        return operations_pb2.ListOperationsResponse(operations=page, next_page_token=token)

    def CancelOperation(self, request, context):
        self._enter("CancelOperation", request, context)
        with self._lock:
            operation = self.operations[request.name]
            if not operation.done:
                operation.done = True
                operation.error.CopyFrom(status_from_error(Cancelled("cancelled by its owner")))
        return empty_pb2.Empty()

    def DeleteOperation(self, request, context):
        self._enter("DeleteOperation", request, context)
        if not self.operations[request.name].done:
            self._abort(context, FailedPrecondition("it still runs", reason="OPERATION_NOT_DONE"))
        del self.operations[request.name]
        return empty_pb2.Empty()

    # Cohorts.

    def UploadFiles(self, requests, context):
        self._enter("UploadFiles", None, context)
        upload, path, kept = "", "", {}
        for request in requests:
            upload, path = upload or request.upload, request.path or path
            kept[path] = kept.get(path, b"") + request.data
        upload = upload or f"uploads/{len(self.uploads) + 1}"
        self.uploads.setdefault(upload, {}).update(kept)
        self._leave("UploadFiles", context)
        size = sum(map(len, kept.values()))
        return cohort_service_pb2.UploadFilesResponse(upload=upload, files=len(kept), bytes=size)

    def CreateCohort(self, request, context):
        self._enter("CreateCohort", request, context)
        name = f"cohorts/{len(self.cohorts) + 1}"
        table = request.table_csv or self.uploads.get(request.upload, {}).get(request.table_path, b"").decode()
        rows = max(0, len(table.splitlines()) - 1)

        def outcome() -> cohort_pb2.Cohort:
            level = cohort_pb2.AttributeLevel(level="Female", records=rows, patients=rows)
            self.cohorts[name] = cohort_pb2.Cohort(
                name=name,
                display_name=request.display_name,
                digest="d" * 64,
                records=rows,
                patients=rows,
                attributes=[cohort_pb2.Attribute(name="sex", levels=[level])],
                labels=[cohort_pb2.Label(name="Edema", positives=1, negatives=rows - 1)],
                refused=[cohort_pb2.RefusedRow(row=2, file="b.dcm", reason="FILE_UNDECODABLE", message="truncated")],
                refused_count=1,
            )
            return self.cohorts[name]

        metadata = cohort_service_pb2.CreateCohortMetadata(stage="decoding", rows_total=40, cohort=name)
        return self._start("CreateCohort", request, context, metadata, outcome)

    def CreateSyntheticCohort(self, request, context):
        self._enter("CreateSyntheticCohort", request, context)
        if request.spec.cohort not in self.cohorts:
            self._abort(context, NotFound("no such cohort", field="spec.cohort", reason="COHORT_NOT_FOUND"))
        name = f"cohorts/{len(self.cohorts) + 1}"
        images = request.spec.images
        metadata = cohort_service_pb2.CreateSyntheticCohortMetadata(stage="sampling", images_total=images, cohort=name)

        def outcome() -> cohort_pb2.Cohort:
            self.cohorts[name] = synthetic_cohort(name, request)
            return self.cohorts[name]

        return self._start("CreateSyntheticCohort", request, context, metadata, outcome)

    def GetCohort(self, request, context):
        self._enter("GetCohort", request, context)
        if request.name not in self.cohorts:
            self._abort(context, NotFound("no such cohort", field=request.name, reason="COHORT_NOT_FOUND"))
        return self.cohorts[request.name]

    def ListCohorts(self, request, context):
        self._enter("ListCohorts", request, context)
        page, token = _page(list(self.cohorts.values()), request)
        return cohort_service_pb2.ListCohortsResponse(cohorts=page, next_page_token=token)

    def DeleteCohort(self, request, context):
        self._enter("DeleteCohort", request, context)
        if self.cohorts.pop(request.name, None) is None:
            self._abort(context, NotFound("no such cohort", field=request.name, reason="COHORT_NOT_FOUND"))
        self._leave("DeleteCohort", context)
        return empty_pb2.Empty()

    # Audits.

    def CreateAudit(self, request, context):
        self._enter("CreateAudit", request, context)
        if not request.spec.pipelines:
            self._abort(context, InvalidInput("an audit has 1 to 32 pipelines, got 0", field="spec.pipelines"))
        name = f"audits/{len(self.operations) + 1}"

        def outcome() -> audit_pb2.Audit:
            for filename, data in demo_artifacts().items():
                self.artifacts.setdefault(filename, data)
            listed = [
                audit_pb2.Artifact(filename=key, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
                for key, data in self.artifacts.items()
            ]
            self.audits[name].state = audit_pb2.Audit.STATE_SUCCEEDED
            self.audits[name].artifacts.extend(listed)
            return self.audits[name]

        self.audits[name] = audit_pb2.Audit(
            name=name,
            spec=request.spec,
            state=audit_pb2.Audit.STATE_RUNNING,
            operation=f"operations/{len(self.operations) + 1}",
        )
        metadata = audit_service_pb2.CreateAuditMetadata(stage="queued", rows_total=400, eta_s=-1, audit=name)
        return self._start("CreateAudit", request, context, metadata, outcome)

    def PlanAudit(self, request, context):
        self._enter("PlanAudit", request, context)
        if not request.spec.pipelines:
            self._abort(context, InvalidInput("an audit has 1 to 32 pipelines, got 0", field="spec.pipelines"))
        return demo_plan()

    def GetAudit(self, request, context):
        self._enter("GetAudit", request, context)
        if request.name not in self.audits:
            self._abort(context, NotFound("no such audit", field=request.name, reason="AUDIT_NOT_FOUND"))
        return self.audits[request.name]

    def ListAudits(self, request, context):
        self._enter("ListAudits", request, context)
        page, token = _page(list(self.audits.values()), request)
        return audit_service_pb2.ListAuditsResponse(audits=page, next_page_token=token)

    def DeleteAudit(self, request, context):
        self._enter("DeleteAudit", request, context)
        if self.audits.pop(request.name, None) is None:
            self._abort(context, NotFound("no such audit", field=request.name, reason="AUDIT_NOT_FOUND"))
        self._leave("DeleteAudit", context)
        return empty_pb2.Empty()

    def ReadArtifact(self, request, context):
        self._enter("ReadArtifact", request, context)
        if request.filename not in self.artifacts:
            self._abort(context, NotFound("no such artifact", field=request.filename, reason="ARTIFACT_NOT_FOUND"))
        data = self.artifacts[request.filename]
        pieces = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
        for index, piece in enumerate(pieces):
            if index == self.cut_after:
                if self.cut_status is not None:
                    context.abort(self.cut_status, "connection reset")
                return
            last = index == len(pieces) - 1
            sha256 = ("0" * 64 if self.wrong_sha256 else hashlib.sha256(data).hexdigest()) if last else ""
            yield audit_service_pb2.ReadArtifactResponse(data=piece, sha256=sha256)

    # Models.

    def GetModel(self, request, context):
        self._enter("GetModel", request, context)
        if request.name not in self.models:
            self._abort(context, NotFound("no such model is served", field=request.name, reason="MODEL_NOT_FOUND"))
        return self.models[request.name]

    def ListModels(self, request, context):
        self._enter("ListModels", request, context)
        page, token = _page([self.models[name] for name in sorted(self.models)], request)
        return model_service_pb2.ListModelsResponse(models=page, next_page_token=token)

    def CreateClassification(self, request, context):
        self._enter("CreateClassification", request, context)
        with self._lock:
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
        time.sleep(0.01)
        with self._lock:
            self._running -= 1
        model = self.models[request.model]
        mean = float(_pixels(request.image).mean())
        reply = classification_service_pb2.Classification(
            model=model.name, model_version=model.version, model_digest=model.digest
        )
        if model.task == model_pb2.TASK_SEGMENTATION:
            reply.mask.CopyFrom(request.image.tensor)
            return reply
        for label in model.labels:
            threshold = model.thresholds[label]
            reply.labels.add(label=label, probability=mean, threshold=threshold, positive=mean >= threshold)
        return reply

    def CreateReconstruction(self, request, context):
        self._enter("CreateReconstruction", request, context)
        model = self.models[request.model]
        return reconstruction_service_pb2.Reconstruction(
            model=model.name, model_version="1", image=_tensor(1 - _pixels(request.image))
        )

    # Trainings.

    def CreateTraining(self, request, context):
        self._enter("CreateTraining", request, context)
        name = f"trainings/{len(self.trainings) + 1}"
        training = training_pb2.Training(name=name, recipe=request.recipe, seed=request.seed, scores={"auroc": 0.9})
        if request.base:
            training.base, training.base_version = request.base, request.base_version
            training.mitigation.CopyFrom(request.mitigation)
            training.data.CopyFrom(request.data)
            for number, weight in enumerate(request.mitigation.weights):
                training.versions.add(version=str(number + 2), weight=weight, chosen=number == 0, scores={"psnr": 31.0})
        self.trainings[name] = training
        metadata = training_service_pb2.CreateTrainingMetadata(stage="training", epochs_total=3, training=name)
        return self._start("CreateTraining", request, context, metadata, lambda: training)

    def GetTraining(self, request, context):
        self._enter("GetTraining", request, context)
        if request.name not in self.trainings:
            self._abort(context, NotFound("no such training", field=request.name, reason="TRAINING_NOT_FOUND"))
        return self.trainings[request.name]

    def ListTrainings(self, request, context):
        self._enter("ListTrainings", request, context)
        page, token = _page(list(self.trainings.values()), request)
        return training_service_pb2.ListTrainingsResponse(trainings=page, next_page_token=token)


def _unpacked(packed: any_pb2.Any) -> Any:
    for kind in (
        audit_service_pb2.CreateAuditMetadata,
        cohort_service_pb2.CreateCohortMetadata,
        cohort_service_pb2.CreateSyntheticCohortMetadata,
        training_service_pb2.CreateTrainingMetadata,
        *SYNTHETIC_METADATA,
    ):
        if packed.Is(kind.DESCRIPTOR):
            message = kind()
            packed.Unpack(message)
            return message
    raise AssertionError(packed.type_url)


def _packed(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _page(items: Sequence[Any], request: Any) -> tuple[list[Any], str]:
    start, size = int(request.page_token or 0), request.page_size or 50
    return list(items[start : start + size]), str(start + size) if start + size < len(items) else ""


def _pixels(image: image_pb2.Image) -> np.ndarray:
    if image.WhichOneof("source") == "file":
        return np.full((1, 2, 2), 0.5, np.float32)
    return np.frombuffer(image.tensor.data, "<f4").reshape(tuple(image.tensor.shape))


def _tensor(array: np.ndarray) -> image_pb2.Tensor:
    return image_pb2.Tensor(shape=array.shape, data=array.astype("<f4").tobytes())


def serve(twin: Twin) -> tuple[grpc.Server, str]:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=24))
    for adder in (
        audit_service_pb2_grpc.add_AuditServiceServicer_to_server,
        classification_service_pb2_grpc.add_ClassificationServiceServicer_to_server,
        cohort_service_pb2_grpc.add_CohortServiceServicer_to_server,
        model_service_pb2_grpc.add_ModelServiceServicer_to_server,
        monitoring_service_pb2_grpc.add_MonitoringServiceServicer_to_server,
        operations_pb2_grpc.add_OperationsServicer_to_server,
        reconstruction_service_pb2_grpc.add_ReconstructionServiceServicer_to_server,
        training_service_pb2_grpc.add_TrainingServiceServicer_to_server,
    ):
        adder(twin, server)
    add_to_server(twin, server)
    servicer = health.HealthServicer()
    for service in ("", *SERVICES):
        servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"
