import datetime

from evenhand.cohort.v1 import synthetic_pb2 as _synthetic_pb2
from evenhand.resources.v1 import artifact_pb2 as _artifact_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Cohort(_message.Message):
    __slots__ = ("name", "display_name", "digest", "records", "patients", "refused", "refused_count", "attributes", "labels", "modality", "manifest_key", "create_time", "has_masks", "demographics", "synthetic", "artifacts", "mask_labels", "mask_planes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    PATIENTS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_COUNT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_KEY_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    HAS_MASKS_FIELD_NUMBER: _ClassVar[int]
    DEMOGRAPHICS_FIELD_NUMBER: _ClassVar[int]
    SYNTHETIC_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    MASK_LABELS_FIELD_NUMBER: _ClassVar[int]
    MASK_PLANES_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    digest: str
    records: int
    patients: int
    refused: _containers.RepeatedCompositeFieldContainer[RefusedRow]
    refused_count: int
    attributes: _containers.RepeatedCompositeFieldContainer[Attribute]
    labels: _containers.RepeatedCompositeFieldContainer[Label]
    modality: str
    manifest_key: str
    create_time: _timestamp_pb2.Timestamp
    has_masks: bool
    demographics: Demographics
    synthetic: _synthetic_pb2.Synthetic
    artifacts: _containers.RepeatedCompositeFieldContainer[_artifact_pb2.Artifact]
    mask_labels: _containers.RepeatedScalarFieldContainer[str]
    mask_planes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., digest: _Optional[str] = ..., records: _Optional[int] = ..., patients: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[RefusedRow, _Mapping]]] = ..., refused_count: _Optional[int] = ..., attributes: _Optional[_Iterable[_Union[Attribute, _Mapping]]] = ..., labels: _Optional[_Iterable[_Union[Label, _Mapping]]] = ..., modality: _Optional[str] = ..., manifest_key: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., has_masks: _Optional[bool] = ..., demographics: _Optional[_Union[Demographics, _Mapping]] = ..., synthetic: _Optional[_Union[_synthetic_pb2.Synthetic, _Mapping]] = ..., artifacts: _Optional[_Iterable[_Union[_artifact_pb2.Artifact, _Mapping]]] = ..., mask_labels: _Optional[_Iterable[str]] = ..., mask_planes: _Optional[_Iterable[str]] = ...) -> None: ...

class Demographics(_message.Message):
    __slots__ = ("matched", "unmatched", "conflicting")
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    UNMATCHED_FIELD_NUMBER: _ClassVar[int]
    CONFLICTING_FIELD_NUMBER: _ClassVar[int]
    matched: int
    unmatched: int
    conflicting: int
    def __init__(self, matched: _Optional[int] = ..., unmatched: _Optional[int] = ..., conflicting: _Optional[int] = ...) -> None: ...

class RefusedRow(_message.Message):
    __slots__ = ("row", "file", "reason", "message")
    ROW_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    row: int
    file: str
    reason: str
    message: str
    def __init__(self, row: _Optional[int] = ..., file: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Attribute(_message.Message):
    __slots__ = ("name", "levels", "missing", "assigned_by")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    ASSIGNED_BY_FIELD_NUMBER: _ClassVar[int]
    name: str
    levels: _containers.RepeatedCompositeFieldContainer[AttributeLevel]
    missing: int
    assigned_by: str
    def __init__(self, name: _Optional[str] = ..., levels: _Optional[_Iterable[_Union[AttributeLevel, _Mapping]]] = ..., missing: _Optional[int] = ..., assigned_by: _Optional[str] = ...) -> None: ...

class AttributeLevel(_message.Message):
    __slots__ = ("level", "records", "patients")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    PATIENTS_FIELD_NUMBER: _ClassVar[int]
    level: str
    records: int
    patients: int
    def __init__(self, level: _Optional[str] = ..., records: _Optional[int] = ..., patients: _Optional[int] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ("name", "positives", "negatives", "missing")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POSITIVES_FIELD_NUMBER: _ClassVar[int]
    NEGATIVES_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    name: str
    positives: int
    negatives: int
    missing: int
    def __init__(self, name: _Optional[str] = ..., positives: _Optional[int] = ..., negatives: _Optional[int] = ..., missing: _Optional[int] = ...) -> None: ...
