"""A hostile caller against the real platform: each mistake is the caller's, in the same words on gRPC and REST.

:meth:`Transports.refused` sends a request both ways and holds both answers to the same reason, field and message, to a
4xx, and to texts without tracebacks or the server's own paths. The tests here say which reason, and that nothing else
was lost.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import grpc
import numpy as np
import pytest
from evenhand.audit.v1 import audit_pb2, audit_service_pb2
from evenhand.classification.v1 import classification_service_pb2
from evenhand.cohort.v1 import cohort_pb2, cohort_service_pb2
from evenhand.reconstruction.v1 import reconstruction_service_pb2
from evenhand.resources.v1 import image_pb2, model_service_pb2
from evenhand.training.v1 import training_service_pb2
from google.longrunning import operations_pb2
from google.protobuf.message import Message
from tritonclient.grpc import service_pb2

from tests.e2e.conftest import Platform
from tests.e2e.hostile_files import HOSTILE, MIB, npy
from tests.e2e.transports import Transports, by_grpc, by_rest

pytestmark = pytest.mark.ray

AUDITS, COHORTS = "evenhand.audit.v1.AuditService", "evenhand.cohort.v1.CohortService"
MODELS, TRAININGS = "evenhand.resources.v1.ModelService", "evenhand.training.v1.TrainingService"
CLASSIFICATION = "evenhand.classification.v1.ClassificationService/CreateClassification"
RECONSTRUCTION = "evenhand.reconstruction.v1.ReconstructionService/CreateReconstruction"
OPERATIONS, INFER = "google.longrunning.Operations", "inference.GRPCInferenceService/ModelInfer"

GOOD_PATIENTS = 24
SCHEMA = """
record: id
patient: patient
image: file
attributes:
- {name: sex, column: sex, levels: [Female, Male, Other]}
labels: [Edema, Fracture]
"""
HEADER = "id,patient,file,sex,Edema,Fracture\n"
ROWS = [f"r{n},p{n},good{n}.npy,{'Female' if n % 2 else 'Male'},{n // 2 % 2},0" for n in range(GOOD_PATIENTS)]
TABLE = HEADER + "\n".join(ROWS) + "\n"
OUTSIDE = ["../../ledger.db", "/etc/passwd", "absent.npy"]  # what a table may claim its images are


@pytest.fixture(scope="module")
def both(platform: Platform) -> Iterator[Transports]:
    transports = Transports(platform.http, platform.grpc)
    yield transports
    transports.close()


@pytest.fixture(scope="module", autouse=True)
def still_ready(platform: Platform, both: Transports) -> Iterator[None]:
    """After all of it the same platform still takes work."""
    state, log = platform.data_dir / "platform.json", platform.data_dir / "platform.log"
    before, already_said = json.loads(state.read_text()), log.stat().st_size
    yield
    assert both.web.get("/v2/health/ready").status_code == 200
    pixels = np.full((1, 64, 64), 0.5, np.float32)
    asked = classification(tensor(pixels))
    reply = both.call(CLASSIFICATION, asked, classification_service_pb2.Classification)
    assert len(reply.labels) == 12
    assert json.loads(state.read_text()) == before
    assert b"Traceback" not in log.read_bytes()[already_said:]


def finished(both: Transports, operation: operations_pb2.Operation) -> operations_pb2.Operation:
    deadline = time.monotonic() + 120
    while not operation.done:
        assert time.monotonic() < deadline, operation
        wait = operations_pb2.WaitOperationRequest(name=operation.name)
        wait.timeout.FromSeconds(10)
        operation = both.call(f"{OPERATIONS}/WaitOperation", wait, operations_pb2.Operation)
    return operation


@dataclass(frozen=True)
class Survivor:
    """A cohort made of good rows and of every hostile file, and the request that made it."""

    asked: cohort_service_pb2.CreateCohortRequest
    operation: str
    cohort: cohort_pb2.Cohort


@pytest.fixture(scope="module")
def survivor(both: Transports) -> Survivor:
    upload = both.web.post("/v1/uploads").json()["upload"]
    rng = np.random.default_rng(3)
    good = {f"good{n}.npy": npy(rng.random((32, 32), np.float32)) for n in range(GOOD_PATIENTS)}
    for name, data in [*good.items(), *((name, data) for name, (data, _) in HOSTILE.items())]:
        assert both.web.put(f"/v1/{upload}/files/{name}", content=data).status_code == 201
    bad = [f"x{n},q{n},{name},Female,1,0" for n, name in enumerate([*HOSTILE, *OUTSIDE])]
    asked = cohort_service_pb2.CreateCohortRequest(
        upload=upload, table_csv=TABLE + "\n".join(bad) + "\n", schema_yaml=SCHEMA, request_id=str(uuid.uuid4())
    )
    started = both.call(f"{COHORTS}/CreateCohort", asked, operations_pb2.Operation)
    done = finished(both, started)
    cohort = cohort_pb2.Cohort()
    assert done.response.Unpack(cohort), done.error
    return Survivor(asked, started.name, cohort)


def tensor(pixels: np.ndarray, shape: tuple[int, ...] | None = None) -> image_pb2.Image:
    data = pixels.astype("<f4").tobytes()
    return image_pb2.Image(tensor=image_pb2.Tensor(shape=pixels.shape if shape is None else shape, data=data))


def classification(
    image: image_pb2.Image, model: str = "models/chest-classifier"
) -> classification_service_pb2.CreateClassificationRequest:
    return classification_service_pb2.CreateClassificationRequest(model=model, image=image)


# --- Files in a cohort, and the same files by themselves


def test_hostile_files_cost_their_own_rows_and_no_other(survivor: Survivor) -> None:
    cohort = survivor.cohort
    assert (cohort.records, cohort.patients) == (GOOD_PATIENTS, GOOD_PATIENTS)
    reasons = {row.file: row.reason for row in cohort.refused}
    assert set(reasons) == {*HOSTILE, *OUTSIDE} and cohort.refused_count == len(reasons)
    assert {file: reasons[file] for file in HOSTILE} == {file: reason for file, (_, reason) in HOSTILE.items()}
    assert [reasons[file] for file in OUTSIDE] == ["PATH_NOT_CONFINED", "PATH_NOT_CONFINED", "FILE_NOT_FOUND"]
    assert all(row.message and "Traceback" not in row.message for row in cohort.refused)


@pytest.mark.parametrize("file", HOSTILE)
def test_a_hostile_file_is_refused_alone_for_the_reason_its_row_was(
    both: Transports, survivor: Survivor, file: str
) -> None:
    image = image_pb2.Image(file=HOSTILE[file][0], filename=file)
    refusal = both.refused(CLASSIFICATION, classification(image), "POST", "/v1/classifications")
    (row,) = [row for row in survivor.cohort.refused if row.file == file]
    assert (refusal.reason, refusal.field, refusal.code) == (row.reason, file, "INVALID_ARGUMENT")


# --- Tables, schemas and folders

TABLES: dict[str, tuple[str, str, str]] = {
    "other label value": (TABLE.replace(",0,0\n", ",perhaps,0\n", 1), "LABEL_VALUE_NOT_IN_SCHEMA", "table.Edema"),
    "other level": (TABLE.replace("Female", "Martian", 1), "LEVEL_NOT_IN_SCHEMA", "table.sex"),
    "duplicate record id": (TABLE.replace("r1,", "r0,", 1), "DUPLICATE_RECORD_ID", "table.id"),
    "missing column": (TABLE.replace("patient,", "person,", 1), "COLUMN_NOT_FOUND", "schema_yaml.patient"),
    "no rows": (HEADER, "TABLE_EMPTY", "table"),
    "NUL": (TABLE.replace("p1,", "p\0,", 1), "TABLE_MALFORMED", "table"),
    "ragged": (TABLE + "r99,p99\n", "TABLE_MALFORMED", "table"),
    "open quote": (TABLE + '"r99', "TABLE_MALFORMED", "table"),
    "giant cell": (TABLE + "r99," + "x" * 200_000 + ",good0.npy,Male,0,0\n", "TABLE_MALFORMED", "table"),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_wrong_table_is_an_error_of_the_request(both: Transports, survivor: Survivor, case: str) -> None:
    table, reason, field = TABLES[case]
    asked = cohort_service_pb2.CreateCohortRequest(upload=survivor.asked.upload, table_csv=table, schema_yaml=SCHEMA)
    refusal = both.refused(f"{COHORTS}/CreateCohort", asked, "POST", "/v1/cohorts")
    assert (refusal.reason, refusal.field, refusal.http) == (reason, field, 400)


def test_a_table_file_in_another_encoding_is_refused_by_its_name(both: Transports) -> None:
    upload = both.web.post("/v1/uploads").json()["upload"]
    table = TABLE.replace("p1,", "José,", 1).encode("latin-1")
    assert both.web.put(f"/v1/{upload}/files/latin.csv", content=table).status_code == 201
    asked = cohort_service_pb2.CreateCohortRequest(upload=upload, table_path="latin.csv", schema_yaml=SCHEMA)
    refusal = both.refused(f"{COHORTS}/CreateCohort", asked, "POST", "/v1/cohorts")
    assert (refusal.reason, refusal.field) == ("TABLE_MALFORMED", "latin.csv")
    assert "UTF-8" in refusal.message


COHORT_FIELDS: dict[str, tuple[dict[str, str], str, str]] = {
    "no source": ({"upload": ""}, "SOURCE_MISSING", "upload"),
    "unknown upload": ({"upload": "uploads/none"}, "UPLOAD_NOT_FOUND", "upload"),
    "upload outside": ({"upload": "uploads/.."}, "UPLOAD_NOT_FOUND", "upload"),
    "folder outside": ({"folder": "/etc"}, "FOLDER_NOT_ALLOWED", "folder"),
    "folder upwards": ({"folder": "../.."}, "FOLDER_NOT_ALLOWED", "folder"),
    "folder with NUL": ({"folder": "/etc\0"}, "CONTROL_CHARACTER", "folder"),
    "table outside": ({"table_csv": "", "table_path": "../../ledger.db"}, "TABLE_NOT_FOUND", "table_path"),
    "table absolute": ({"table_csv": "", "table_path": "/etc/passwd"}, "TABLE_NOT_FOUND", "table_path"),
    "table with NUL": ({"table_csv": "", "table_path": "a\0b"}, "CONTROL_CHARACTER", "table_path"),
    "table with a giant name": ({"table_csv": "", "table_path": "x" * 300}, "TABLE_NOT_FOUND", "table_path"),
    "no table": ({"table_csv": ""}, "TABLE_NOT_FOUND", "table"),
    "two tables": ({"table_path": "rows.csv"}, "TABLE_TWICE", "table_path"),
    "no schema": ({"schema_yaml": " "}, "SCHEMA_MISSING", "schema_yaml"),
    "unknown schema": ({"schema_yaml": "chexper"}, "SCHEMA_INVALID", "schema_yaml"),
    "broken YAML": ({"schema_yaml": "image: [file"}, "SCHEMA_INVALID", "schema_yaml"),
    "YAML that runs code": (
        {"schema_yaml": "a: !!python/object/apply:os.system ['id']"},
        "SCHEMA_INVALID",
        "schema_yaml",
    ),
    "YAML bomb": ({"schema_yaml": "a: &x [1, 1]\nb: &y [*x, *x]\nc: [*y, *y]"}, "SCHEMA_INVALID", "schema_yaml"),
    "deep YAML": ({"schema_yaml": "[" * 20_000}, "SCHEMA_INVALID", "schema_yaml"),
    "unknown schema field": ({"schema_yaml": SCHEMA + "colour: red\n"}, "SCHEMA_INVALID", "schema_yaml.colour"),
    "request id no UUID": ({"request_id": "7"}, "INVALID_INPUT", "request_id"),
}


@pytest.mark.parametrize("case", COHORT_FIELDS)
def test_a_wrong_cohort_request_names_its_field(both: Transports, survivor: Survivor, case: str) -> None:
    fields, reason, field = COHORT_FIELDS[case]
    source = {} if "folder" in fields else {"upload": survivor.asked.upload}
    asked = {**source, "table_csv": TABLE, "schema_yaml": SCHEMA, **fields}
    message = cohort_service_pb2.CreateCohortRequest(**{name: text for name, text in asked.items() if text})
    refusal = both.refused(f"{COHORTS}/CreateCohort", message, "POST", "/v1/cohorts")
    assert (refusal.reason, refusal.field) == (reason, field)


# --- Uploads

ESCAPES = [
    "../escaped",
    "a/../../escaped",
    "/absolute/escaped",
    "..",
    "a//b",
    "a\\..\\escaped",
    "a\0b",
    "./a",
    "x" * 300,
]


@pytest.mark.parametrize("path", ESCAPES)
def test_an_upload_stays_in_its_folder(both: Transports, platform: Platform, path: str) -> None:
    upload = both.web.post("/v1/uploads").json()["upload"]
    message = cohort_service_pb2.UploadFilesRequest(upload=upload, path=path, data=b"x")
    over_grpc = both.refused_by_grpc(f"{COHORTS}/UploadFiles", [message])
    spelt = quote(path, safe="").replace(".", "%2E")  # or the HTTP client would tidy it up
    over_rest = by_rest(both.web.put(f"/v1/{upload}/files/{spelt}", content=b"x"))
    assert over_grpc.reason == over_rest.reason == "UPLOAD_PATH_INVALID"
    assert over_grpc.field == "path" and over_rest.field == "/path"
    assert both.web.get(f"/v1/{upload}").json()["files"] == 0
    assert not list(platform.data_dir.rglob("escaped"))


def test_files_for_an_upload_that_is_not_there_have_nowhere_to_go(both: Transports) -> None:
    message = cohort_service_pb2.UploadFilesRequest(upload="uploads/none", path="a.npy", data=b"x")
    assert both.refused_by_grpc(f"{COHORTS}/UploadFiles", [message]).reason == "UPLOAD_NOT_FOUND"
    assert by_rest(both.web.put("/v1/uploads/none/files/a.npy", content=b"x")).reason == "UPLOAD_NOT_FOUND"
    no_path = cohort_service_pb2.UploadFilesRequest(data=b"x")
    assert both.refused_by_grpc(f"{COHORTS}/UploadFiles", [no_path]).reason == "UPLOAD_PATH_MISSING"


# --- Audits


def audit_request(cohort: str, **changes: Any) -> audit_service_pb2.CreateAuditRequest:
    classify = audit_pb2.Pipeline(name="original", stages=[audit_pb2.Stage(classify="chest-classifier")])
    request_id = changes.pop("request_id", "")
    spec = {"cohort": cohort, "pipelines": [classify], "attributes": ["sex"]} | changes
    return audit_service_pb2.CreateAuditRequest(spec=audit_pb2.AuditSpec(**spec), request_id=request_id)


def pipeline(*stages: audit_pb2.Stage) -> dict[str, Any]:
    return {"pipelines": [audit_pb2.Pipeline(name="p", stages=stages)]}


CLASSIFY = audit_pb2.Stage(classify="chest-classifier")
LOW_DOSE = {"operator": "low-dose-xray"}
SPECS: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown cohort": ({"cohort": "cohorts/none"}, "COHORT_NOT_FOUND", "spec.cohort"),
    "no cohort": ({"cohort": ""}, "NAME_MALFORMED", "spec.cohort"),
    "unknown attribute": ({"attributes": ["race"]}, "ATTRIBUTE_NOT_IN_COHORT", "spec.attributes[0]"),
    "no attribute": ({"attributes": []}, "ATTRIBUTES_EMPTY", "spec.attributes"),
    "unknown label": ({"labels": ["Gout"]}, "LABEL_NOT_IN_SCHEMA", "spec.labels[0]"),
    "unknown baseline": ({"baseline": "nobody"}, "BASELINE_UNKNOWN", "spec.baseline"),
    "no pipeline": ({"pipelines": []}, "PIPELINE_COUNT", "spec.pipelines"),
    "empty stage": (pipeline(audit_pb2.Stage()), "STAGE_EMPTY", "spec.pipelines[0].stages[0]"),
    "unknown model": (
        pipeline(audit_pb2.Stage(classify="nothing")),
        "MODEL_NOT_FOUND",
        "spec.pipelines[0].stages[0].classify",
    ),
    "model of another task": (
        pipeline(audit_pb2.Stage(classify="xray-unet")),
        "TASK_MISMATCH",
        "spec.pipelines[0].stages[0].classify",
    ),
    "no masks": (
        pipeline(audit_pb2.Stage(segment="tumour-segmenter")),
        "COHORT_WITHOUT_MASKS",
        "spec.pipelines[0].stages[0].segment",
    ),
    "no dose": (
        pipeline(audit_pb2.Stage(degrade=audit_pb2.Degradation(**LOW_DOSE)), CLASSIFY),
        "VALUE_OUT_OF_RANGE",
        "spec.pipelines[0].stages[0].degrade.photons",
    ),
    "infinite dose": (
        pipeline(audit_pb2.Stage(degrade=audit_pb2.Degradation(**LOW_DOSE, photons=np.inf)), CLASSIFY),
        "VALUE_OUT_OF_RANGE",
        "spec.pipelines[0].stages[0].degrade.photons",
    ),
    "unknown operator": (
        pipeline(audit_pb2.Stage(degrade=audit_pb2.Degradation(operator="blur")), CLASSIFY),
        "OPERATOR_UNKNOWN",
        "spec.pipelines[0].stages[0].degrade.operator",
    ),
    "negative minimum": ({"min_patients": -1}, "VALUE_OUT_OF_RANGE", "spec.min_patients"),
    "negative seed": ({"seed": -1}, "VALUE_OUT_OF_RANGE", "spec.seed"),
    "unknown reference group": ({"reference_groups": {"sex": "Nobody"}}, "GROUP_UNKNOWN", "spec.reference_groups[sex]"),
    "reference for an attribute not asked for": (
        {"reference_groups": {"age": "80 and over"}},
        "ATTRIBUTE_NOT_IN_COHORT",
        "spec.reference_groups[age]",
    ),
    "unknown quality metric": ({"quality_metrics": ["fid"]}, "METRIC_UNKNOWN", "spec.quality_metrics[0]"),
    "unknown encoder": ({"quality_metrics": ["perceptual/absent"]}, "MODEL_NOT_FOUND", "spec.quality_metrics"),
    "encoder that has one answer only": (
        {"quality_metrics": ["perceptual/chest-classifier"]},
        "TASK_MISMATCH",
        "spec.quality_metrics",
    ),
    "LPIPS without weights": ({"quality_metrics": ["lpips_vgg"]}, "LPIPS_WEIGHTS_ABSENT", "spec.quality_metrics"),
}


@pytest.mark.parametrize("case", SPECS)
def test_a_wrong_audit_names_its_field(both: Transports, survivor: Survivor, case: str) -> None:
    changes, reason, field = SPECS[case]
    message = audit_request(**{"cohort": survivor.cohort.name, **changes})
    plan = audit_service_pb2.PlanAuditRequest(spec=message.spec)
    for refusal in (
        both.refused(f"{AUDITS}/CreateAudit", message, "POST", "/v1/audits"),
        both.refused(f"{AUDITS}/PlanAudit", plan, "POST", "/v1/audits:plan"),
    ):
        assert (refusal.reason, refusal.field) == (reason, field)
        assert refusal.http == {"COHORT_NOT_FOUND": 404, "MODEL_NOT_FOUND": 404, "LPIPS_WEIGHTS_ABSENT": 409}.get(
            reason, 400
        )


def test_what_cannot_be_estimated_is_a_state_in_the_report_and_no_error(both: Transports, survivor: Survivor) -> None:
    asked = audit_request(survivor.cohort.name, min_patients=2, min_cases=1)
    done = finished(both, both.call(f"{AUDITS}/CreateAudit", asked, operations_pb2.Operation))
    audit = audit_pb2.Audit()
    assert done.response.Unpack(audit), done.error
    report = both.web.get(f"/v1/{audit.name}/artifacts/report.json").json()
    cells = {(c["label"], c["metric"], c["group"]): c for c in report["cells"] if c["attribute"] == "sex"}
    for group in ("Female", "Male"):
        assert cells["Edema", "auroc", group]["state"] in ("ok", "wide")
        one_class = cells["Fracture", "auroc", group]
        assert (one_class["state"], one_class["estimate"]) == ("undefined", None)
    for label in ("Edema", "Fracture"):
        empty = cells[label, "auroc", "Other"]
        assert (empty["state"], empty["estimate"], empty["patients"]) == ("undefined", None, 0)
    warnings = " ".join(report["provenance"]["warnings"])
    assert "Fracture has no positives" in warnings and "sex=Other" in warnings


# --- Repeats


def test_a_request_id_gives_the_same_operation_for_the_same_body_and_a_conflict_for_another(
    both: Transports, survivor: Survivor
) -> None:
    again = both.call(f"{COHORTS}/CreateCohort", survivor.asked, operations_pb2.Operation)
    assert again.name == survivor.operation
    key = {"Idempotency-Key": survivor.asked.request_id}
    body = {"upload": survivor.asked.upload, "tableCsv": survivor.asked.table_csv, "schemaYaml": SCHEMA}
    assert both.web.post("/v1/cohorts", json=body, headers=key).json()["name"] == survivor.operation
    other = cohort_service_pb2.CreateCohortRequest()
    other.CopyFrom(survivor.asked)
    other.table_csv = TABLE
    refusal = both.refused(f"{COHORTS}/CreateCohort", other, "POST", "/v1/cohorts")
    assert (refusal.reason, refusal.code, refusal.http) == ("REQUEST_ID_REUSED", "ALREADY_EXISTS", 409)
    taken = audit_request(survivor.cohort.name, request_id=survivor.asked.request_id)
    assert both.refused(f"{AUDITS}/CreateAudit", taken, "POST", "/v1/audits").reason == "REQUEST_ID_REUSED"


# --- Names, pages

ABSENT: dict[str, tuple[Message, str, str]] = {
    f"{AUDITS}/GetAudit": (audit_service_pb2.GetAuditRequest(name="audits/none"), "GET", "audits/none"),
    f"{AUDITS}/DeleteAudit": (audit_service_pb2.DeleteAuditRequest(name="audits/none"), "DELETE", "audits/none"),
    f"{COHORTS}/GetCohort": (cohort_service_pb2.GetCohortRequest(name="cohorts/none"), "GET", "cohorts/none"),
    f"{COHORTS}/DeleteCohort": (cohort_service_pb2.DeleteCohortRequest(name="cohorts/none"), "DELETE", "cohorts/none"),
    f"{MODELS}/GetModel": (model_service_pb2.GetModelRequest(name="models/none"), "GET", "models/none"),
    f"{TRAININGS}/GetTraining": (
        training_service_pb2.GetTrainingRequest(name="trainings/none"),
        "GET",
        "trainings/none",
    ),
    f"{OPERATIONS}/GetOperation": (
        operations_pb2.GetOperationRequest(name="operations/none"),
        "GET",
        "operations/none",
    ),
    f"{OPERATIONS}/CancelOperation": (
        operations_pb2.CancelOperationRequest(name="operations/none"),
        "POST",
        "operations/none:cancel",
    ),
    f"{OPERATIONS}/DeleteOperation": (
        operations_pb2.DeleteOperationRequest(name="operations/none"),
        "DELETE",
        "operations/none",
    ),
}


@pytest.mark.parametrize("method", ABSENT)
def test_what_is_not_there_is_not_found(both: Transports, method: str) -> None:
    message, verb, path = ABSENT[method]
    refusal = both.refused(method, message, verb, f"/v1/{path}")
    kind = path.partition("/")[0].removesuffix("s").upper()
    assert (refusal.reason, refusal.code, refusal.http) == (f"{kind}_NOT_FOUND", "NOT_FOUND", 404)
    assert "none" in refusal.message


def test_a_recipe_that_is_not_there_is_not_found(both: Transports) -> None:
    message = training_service_pb2.CreateTrainingRequest(recipe="../../none")
    refusal = both.refused(f"{TRAININGS}/CreateTraining", message, "POST", "/v1/trainings")
    assert (refusal.reason, refusal.field, refusal.http) == ("RECIPE_NOT_FOUND", "recipe", 404)


LISTS: list[tuple[str, type[Message], str]] = [
    (f"{AUDITS}/ListAudits", audit_service_pb2.ListAuditsRequest, "/v1/audits"),
    (f"{COHORTS}/ListCohorts", cohort_service_pb2.ListCohortsRequest, "/v1/cohorts"),
    (f"{MODELS}/ListModels", model_service_pb2.ListModelsRequest, "/v1/models"),
    (f"{TRAININGS}/ListTrainings", training_service_pb2.ListTrainingsRequest, "/v1/trainings"),
]


@pytest.mark.parametrize(("method", "request_class", "path"), LISTS, ids=[row[2] for row in LISTS])
def test_a_page_that_cannot_be_is_refused(
    both: Transports, method: str, request_class: type[Message], path: str
) -> None:
    models = both.web.get("/v1/models", params={"pageSize": 1}).json()
    foreign = [] if path == "/v1/models" else [models["nextPageToken"]]
    for token in ["garbage", "AAAA", "\0é", *foreign]:
        query = {"page_token": token}
        refusal = both.refused(method, request_class(**query), "GET", path, query)
        assert (refusal.reason, refusal.field) == ("PAGE_TOKEN_OF_ANOTHER_QUERY", "page_token")
    negative = both.refused(method, request_class(page_size=-1), "GET", path, {"page_size": "-1"})
    assert (negative.reason, negative.field) == ("VALUE_OUT_OF_RANGE", "page_size")


def test_a_page_token_serves_its_own_query_only(both: Transports, survivor: Survivor) -> None:
    both.call(f"{COHORTS}/CreateCohort", survivor.asked, operations_pb2.Operation)
    other = cohort_service_pb2.CreateCohortRequest(
        upload=survivor.asked.upload, table_csv=TABLE, schema_yaml=SCHEMA, request_id=str(uuid.uuid4())
    )
    finished(both, both.call(f"{COHORTS}/CreateCohort", other, operations_pb2.Operation))
    token = both.web.get("/v1/operations", params={"page_size": 1}).json()["nextPageToken"]
    assert len(both.web.get("/v1/operations", params={"page_size": 1, "page_token": token}).json()["operations"]) == 1
    query = {"page_token": token, "filter": 'kind = "training"'}
    message = operations_pb2.ListOperationsRequest(name="operations", **query)
    refusal = both.refused(f"{OPERATIONS}/ListOperations", message, "GET", "/v1/operations", query)
    assert refusal.reason == "PAGE_TOKEN_OF_ANOTHER_QUERY"


# --- Tensors

PIXELS = np.full((1, 64, 64), 0.5, np.float32)


def spoiled(value: float) -> np.ndarray:
    pixels = PIXELS.copy()
    pixels[0, 3, 5] = value
    return pixels


IMAGES: dict[str, tuple[image_pb2.Image, str, str]] = {
    "NaN": (tensor(spoiled(np.nan)), "NON_FINITE_PIXELS", "image.tensor.data"),
    "infinity": (tensor(spoiled(-np.inf)), "NON_FINITE_PIXELS", "image.tensor.data"),
    "out of range": (tensor(spoiled(1.5)), "VALUE_OUT_OF_RANGE", "image.tensor.data"),
    "float64": (tensor(PIXELS, (1, 64, 32)), "SHAPE_MISMATCH", "image.tensor.data"),
    "two dimensions": (tensor(PIXELS, (64, 64)), "SHAPE_MISMATCH", "image.tensor.shape"),
    "negative extent": (tensor(PIXELS, (1, -64, 64)), "SHAPE_MISMATCH", "image.tensor.shape"),
    "giant extents": (tensor(PIXELS, (2**62, 2**62, 4)), "TOO_LARGE", "image.tensor.shape"),
    "three channels": (tensor(np.repeat(PIXELS, 3, 0)), "SHAPE_MISMATCH", "image"),
    "nothing": (image_pb2.Image(), "IMAGE_MISSING", "image"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_a_wrong_image_is_refused_by_classifiers_and_reconstructors(both: Transports, case: str) -> None:
    image, reason, field = IMAGES[case]
    refusal = both.refused(CLASSIFICATION, classification(image), "POST", "/v1/classifications")
    assert (refusal.reason, refusal.field) == (reason, field)
    asked = reconstruction_service_pb2.CreateReconstructionRequest(model="models/xray-unet", image=image)
    refusal = both.refused(RECONSTRUCTION, asked, "POST", "/v1/reconstructions")
    assert (refusal.reason, refusal.field) == (reason, field)


def test_an_image_for_a_model_that_is_not_served_is_not_found(both: Transports) -> None:
    for model in ("models/none", "models/xray-unet", ""):
        refusal = both.refused(CLASSIFICATION, classification(tensor(PIXELS), model), "POST", "/v1/classifications")
        assert (refusal.reason, refusal.field, refusal.http) == ("MODEL_NOT_FOUND", "model", 404)


def infer(
    raw: bytes | None = None, *, model: str = "chest-classifier", version: str = "", name: str = "image",
    datatype: str = "FP32", shape: tuple[int, ...] = (1, 1, 64, 64),
) -> Any:  # fmt: skip
    request = service_pb2.ModelInferRequest(model_name=model, model_version=version)
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    request.raw_input_contents.append(PIXELS.tobytes() if raw is None else raw)
    return request


INFERENCES: dict[str, tuple[Any, str]] = {
    "unknown model": (infer(model="none"), "MODEL_NOT_FOUND"),
    "unknown version": (infer(version="99"), "MODEL_NOT_FOUND"),
    "unknown input": (infer(name="picture"), "INPUT_NAME_UNKNOWN"),
    "whole numbers": (infer(datatype="INT8"), "DATATYPE_UNSUPPORTED"),
    "texts": (infer(datatype="BYTES"), "DATATYPE_UNSUPPORTED"),
    "other shape": (infer(shape=(1, 1, 32, 128)), "SHAPE_MISMATCH"),
    "too few bytes": (infer(PIXELS.tobytes()[:-4]), "SHAPE_MISMATCH"),
    "over the limit": (infer(shape=(10**9, 1, 64, 64)), "TOO_LARGE"),
    "overflowing": (infer(shape=(2**62, 1, 64, 64)), "TOO_LARGE"),
    "NaN": (infer(spoiled(np.nan).tobytes()), "NON_FINITE_PIXELS"),
    "infinity": (infer(spoiled(np.inf).tobytes()), "NON_FINITE_PIXELS"),
    "out of range": (infer(spoiled(-7.0).tobytes()), "VALUE_OUT_OF_RANGE"),
}


@pytest.mark.parametrize("case", INFERENCES)
def test_a_wrong_inference_has_one_reason_on_both_transports(both: Transports, case: str) -> None:
    request, reason = INFERENCES[case]
    given, raw = request.inputs[0], request.raw_input_contents[0]
    entry = {"name": given.name, "datatype": given.datatype, "shape": list(given.shape)}
    header = json.dumps({"inputs": [entry | {"parameters": {"binary_data_size": len(raw)}}]}).encode()
    version = f"/versions/{request.model_version}" if request.model_version else ""
    over_rest = by_rest(
        both.web.post(
            f"/v2/models/{request.model_name}{version}/infer",
            content=header + raw,
            headers={"Inference-Header-Content-Length": str(len(header))},
        )
    )
    over_grpc = both.refused_by_grpc(INFER, request)
    assert (over_grpc.reason, over_grpc.message) == (over_rest.reason, over_rest.message)
    assert over_grpc.reason == reason
    if reason != "MODEL_NOT_FOUND":
        assert over_grpc.field.startswith("inputs")


def test_a_message_over_the_limit_is_refused_before_it_is_read(both: Transports) -> None:
    giant = infer(bytes(65 * MIB))
    with pytest.raises(grpc.RpcError) as caught:
        both.channel.unary_unary(f"/{INFER}")(giant.SerializeToString(), timeout=30)
    # gRPC's own answer: the message never reaches our code, so there is no reason to read in it.
    refusal = by_grpc(caught.value)
    assert refusal.code == "RESOURCE_EXHAUSTED" and "larger than max" in refusal.message
    for path in ("/v2/models/chest-classifier/infer", "/v1/audits"):
        refusal = by_rest(both.web.post(path, content=bytes(65 * MIB)))
        assert (refusal.reason, refusal.http) == ("TOO_LARGE", 413)


# --- What is no request at all

BODIES: dict[str, tuple[bytes, str]] = {
    "no JSON": (b'{"spec": ', "JSON_MALFORMED"),
    "a list": (b"[]", "JSON_MALFORMED"),
    "a form": (b"spec=1&cohort=2", "JSON_MALFORMED"),
    "XML": (b"<spec/>", "JSON_MALFORMED"),
    "latin-1": ('{"displayName": "José"}'.encode("latin-1"), "JSON_MALFORMED"),
    "deep": (b'{"a":' * 50_000, "JSON_MALFORMED"),
    "unknown field": (b'{"spec": {"cohrt": "x"}}', "FIELD_UNKNOWN"),
    "wrong type": (b'{"spec": {"seed": "many"}}', "FIELD_INVALID"),
}


@pytest.mark.parametrize("case", BODIES)
@pytest.mark.parametrize("media_type", ["application/json", "text/html", "application/x-www-form-urlencoded"])
def test_a_body_that_is_no_request_is_refused_whatever_it_calls_itself(
    both: Transports, case: str, media_type: str
) -> None:
    body, reason = BODIES[case]
    refusal = by_rest(both.web.post("/v1/audits", content=body, headers={"Content-Type": media_type}))
    assert (refusal.reason, refusal.http) == (reason, 400)


def test_paths_verbs_and_parameters_that_do_not_exist_are_problems(both: Transports) -> None:
    for path in ("/nowhere", "/v1/nowhere", "/v2/models", "/v1/audits/a/b/c", "/../etc/passwd"):
        assert by_rest(both.web.get(path)).http == 404
    for verb, path in (("DELETE", "/v1/models"), ("PUT", "/v1/audits"), ("GET", "/v2/models/chest-classifier/infer")):
        refusal = by_rest(both.web.request(verb, path))
        assert (refusal.reason, refusal.http) == ("METHOD_NOT_ALLOWED", 405)
    assert by_rest(both.web.get("/v1/models", params={"page_sise": 3})).reason == "PARAMETER_UNKNOWN"
    assert by_rest(both.web.get("/v1/models", params={"page_size": "many"})).reason == "FIELD_INVALID"


def test_bytes_and_methods_that_grpc_does_not_know_are_no_fault_of_ours(both: Transports) -> None:
    for method in (INFER, CLASSIFICATION, f"{AUDITS}/CreateAudit", f"{OPERATIONS}/WaitOperation"):
        with pytest.raises(grpc.RpcError) as caught:
            both.channel.unary_unary(f"/{method}")(b"\xff\xff\xff\xff", timeout=10)
        assert by_grpc(caught.value).reason == "REQUEST_MALFORMED"
    with pytest.raises(grpc.RpcError) as caught:
        both.channel.unary_unary(f"/{AUDITS}/Explode")(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
