from evenhand.cohort.v1 import cohort_pb2 as _cohort_pb2
from evenhand.cohort.v1 import synthetic_pb2 as _synthetic_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.longrunning import operations_pb2 as _operations_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UploadFilesRequest(_message.Message):
    __slots__ = ("upload", "path", "data")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    upload: str
    path: str
    data: bytes
    def __init__(self, upload: _Optional[str] = ..., path: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class UploadFilesResponse(_message.Message):
    __slots__ = ("upload", "files", "bytes")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    upload: str
    files: int
    bytes: int
    def __init__(self, upload: _Optional[str] = ..., files: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class CreateCohortRequest(_message.Message):
    __slots__ = ("display_name", "request_id", "upload", "folder", "table_csv", "table_path", "schema_yaml", "demographics_csv", "demographics_path")
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    TABLE_CSV_FIELD_NUMBER: _ClassVar[int]
    TABLE_PATH_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_YAML_FIELD_NUMBER: _ClassVar[int]
    DEMOGRAPHICS_CSV_FIELD_NUMBER: _ClassVar[int]
    DEMOGRAPHICS_PATH_FIELD_NUMBER: _ClassVar[int]
    display_name: str
    request_id: str
    upload: str
    folder: str
    table_csv: str
    table_path: str
    schema_yaml: str
    demographics_csv: str
    demographics_path: str
    def __init__(self, display_name: _Optional[str] = ..., request_id: _Optional[str] = ..., upload: _Optional[str] = ..., folder: _Optional[str] = ..., table_csv: _Optional[str] = ..., table_path: _Optional[str] = ..., schema_yaml: _Optional[str] = ..., demographics_csv: _Optional[str] = ..., demographics_path: _Optional[str] = ...) -> None: ...

class CreateCohortMetadata(_message.Message):
    __slots__ = ("stage", "rows_done", "rows_total", "rows_refused", "rows_per_s", "eta_s", "attempt", "cohort")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    ROWS_DONE_FIELD_NUMBER: _ClassVar[int]
    ROWS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    ROWS_REFUSED_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_S_FIELD_NUMBER: _ClassVar[int]
    ETA_S_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    COHORT_FIELD_NUMBER: _ClassVar[int]
    stage: str
    rows_done: int
    rows_total: int
    rows_refused: int
    rows_per_s: float
    eta_s: float
    attempt: int
    cohort: str
    def __init__(self, stage: _Optional[str] = ..., rows_done: _Optional[int] = ..., rows_total: _Optional[int] = ..., rows_refused: _Optional[int] = ..., rows_per_s: _Optional[float] = ..., eta_s: _Optional[float] = ..., attempt: _Optional[int] = ..., cohort: _Optional[str] = ...) -> None: ...

class CreateSyntheticCohortRequest(_message.Message):
    __slots__ = ("display_name", "request_id", "spec")
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    display_name: str
    request_id: str
    spec: _synthetic_pb2.SyntheticSpec
    def __init__(self, display_name: _Optional[str] = ..., request_id: _Optional[str] = ..., spec: _Optional[_Union[_synthetic_pb2.SyntheticSpec, _Mapping]] = ...) -> None: ...

class CreateSyntheticCohortMetadata(_message.Message):
    __slots__ = ("stage", "images_done", "images_total", "images_per_s", "eta_s", "retries", "cohort")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_DONE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_PER_S_FIELD_NUMBER: _ClassVar[int]
    ETA_S_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    COHORT_FIELD_NUMBER: _ClassVar[int]
    stage: str
    images_done: int
    images_total: int
    images_per_s: float
    eta_s: float
    retries: int
    cohort: str
    def __init__(self, stage: _Optional[str] = ..., images_done: _Optional[int] = ..., images_total: _Optional[int] = ..., images_per_s: _Optional[float] = ..., eta_s: _Optional[float] = ..., retries: _Optional[int] = ..., cohort: _Optional[str] = ...) -> None: ...

class GetCohortRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListCohortsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCohortsResponse(_message.Message):
    __slots__ = ("cohorts", "next_page_token")
    COHORTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    cohorts: _containers.RepeatedCompositeFieldContainer[_cohort_pb2.Cohort]
    next_page_token: str
    def __init__(self, cohorts: _Optional[_Iterable[_Union[_cohort_pb2.Cohort, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteCohortRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...
