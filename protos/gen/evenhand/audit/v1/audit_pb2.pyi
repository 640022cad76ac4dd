import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Audit(_message.Message):
    __slots__ = ("name", "display_name", "spec", "digest", "state", "operation", "report_digest", "artifacts", "create_time", "update_time")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Audit.State]
        STATE_PENDING: _ClassVar[Audit.State]
        STATE_RUNNING: _ClassVar[Audit.State]
        STATE_SUCCEEDED: _ClassVar[Audit.State]
        STATE_FAILED: _ClassVar[Audit.State]
        STATE_CANCELLED: _ClassVar[Audit.State]
    STATE_UNSPECIFIED: Audit.State
    STATE_PENDING: Audit.State
    STATE_RUNNING: Audit.State
    STATE_SUCCEEDED: Audit.State
    STATE_FAILED: Audit.State
    STATE_CANCELLED: Audit.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    REPORT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    spec: AuditSpec
    digest: str
    state: Audit.State
    operation: str
    report_digest: str
    artifacts: _containers.RepeatedCompositeFieldContainer[Artifact]
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., spec: _Optional[_Union[AuditSpec, _Mapping]] = ..., digest: _Optional[str] = ..., state: _Optional[_Union[Audit.State, str]] = ..., operation: _Optional[str] = ..., report_digest: _Optional[str] = ..., artifacts: _Optional[_Iterable[_Union[Artifact, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("filename", "key", "sha256", "bytes", "media_type")
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    filename: str
    key: str
    sha256: str
    bytes: int
    media_type: str
    def __init__(self, filename: _Optional[str] = ..., key: _Optional[str] = ..., sha256: _Optional[str] = ..., bytes: _Optional[int] = ..., media_type: _Optional[str] = ...) -> None: ...

class AuditSpec(_message.Message):
    __slots__ = ("cohort", "pipelines", "baseline", "attributes", "labels", "seed", "min_patients", "min_cases", "reference_groups", "quality_metrics", "allow_test_thresholds")
    class ReferenceGroupsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COHORT_FIELD_NUMBER: _ClassVar[int]
    PIPELINES_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MIN_PATIENTS_FIELD_NUMBER: _ClassVar[int]
    MIN_CASES_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_GROUPS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_METRICS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_TEST_THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    cohort: str
    pipelines: _containers.RepeatedCompositeFieldContainer[Pipeline]
    baseline: str
    attributes: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.RepeatedScalarFieldContainer[str]
    seed: int
    min_patients: int
    min_cases: int
    reference_groups: _containers.ScalarMap[str, str]
    quality_metrics: _containers.RepeatedScalarFieldContainer[str]
    allow_test_thresholds: bool
    def __init__(self, cohort: _Optional[str] = ..., pipelines: _Optional[_Iterable[_Union[Pipeline, _Mapping]]] = ..., baseline: _Optional[str] = ..., attributes: _Optional[_Iterable[str]] = ..., labels: _Optional[_Iterable[str]] = ..., seed: _Optional[int] = ..., min_patients: _Optional[int] = ..., min_cases: _Optional[int] = ..., reference_groups: _Optional[_Mapping[str, str]] = ..., quality_metrics: _Optional[_Iterable[str]] = ..., allow_test_thresholds: _Optional[bool] = ...) -> None: ...

class Pipeline(_message.Message):
    __slots__ = ("name", "stages")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    name: str
    stages: _containers.RepeatedCompositeFieldContainer[Stage]
    def __init__(self, name: _Optional[str] = ..., stages: _Optional[_Iterable[_Union[Stage, _Mapping]]] = ...) -> None: ...

class Stage(_message.Message):
    __slots__ = ("degrade", "reconstruct", "classify", "segment", "sampling")
    DEGRADE_FIELD_NUMBER: _ClassVar[int]
    RECONSTRUCT_FIELD_NUMBER: _ClassVar[int]
    CLASSIFY_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    degrade: Degradation
    reconstruct: str
    classify: str
    segment: str
    sampling: Sampling
    def __init__(self, degrade: _Optional[_Union[Degradation, _Mapping]] = ..., reconstruct: _Optional[str] = ..., classify: _Optional[str] = ..., segment: _Optional[str] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("sampler", "steps", "seed")
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    sampler: str
    steps: int
    seed: int
    def __init__(self, sampler: _Optional[str] = ..., steps: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class Degradation(_message.Message):
    __slots__ = ("operator", "acceleration", "photons", "published_bowtie", "preset", "angles", "noise_model", "bowtie")
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    ACCELERATION_FIELD_NUMBER: _ClassVar[int]
    PHOTONS_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_BOWTIE_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    ANGLES_FIELD_NUMBER: _ClassVar[int]
    NOISE_MODEL_FIELD_NUMBER: _ClassVar[int]
    BOWTIE_FIELD_NUMBER: _ClassVar[int]
    operator: str
    acceleration: float
    photons: float
    published_bowtie: bool
    preset: str
    angles: str
    noise_model: str
    bowtie: bool
    def __init__(self, operator: _Optional[str] = ..., acceleration: _Optional[float] = ..., photons: _Optional[float] = ..., published_bowtie: _Optional[bool] = ..., preset: _Optional[str] = ..., angles: _Optional[str] = ..., noise_model: _Optional[str] = ..., bowtie: _Optional[bool] = ...) -> None: ...
