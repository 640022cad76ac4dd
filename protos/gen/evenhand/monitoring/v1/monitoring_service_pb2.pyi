from evenhand.monitoring.v1 import drift_pb2 as _drift_pb2
from evenhand.monitoring.v1 import monitor_pb2 as _monitor_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.longrunning import operations_pb2 as _operations_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateMonitorRequest(_message.Message):
    __slots__ = ("spec", "display_name", "request_id")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    spec: _monitor_pb2.MonitorSpec
    display_name: str
    request_id: str
    def __init__(self, spec: _Optional[_Union[_monitor_pb2.MonitorSpec, _Mapping]] = ..., display_name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class PlanMonitorRequest(_message.Message):
    __slots__ = ("spec", "records_per_window")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    RECORDS_PER_WINDOW_FIELD_NUMBER: _ClassVar[int]
    spec: _monitor_pb2.MonitorSpec
    records_per_window: float
    def __init__(self, spec: _Optional[_Union[_monitor_pb2.MonitorSpec, _Mapping]] = ..., records_per_window: _Optional[float] = ...) -> None: ...

class GetMonitorRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListMonitorsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListMonitorsResponse(_message.Message):
    __slots__ = ("monitors", "next_page_token")
    MONITORS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    monitors: _containers.RepeatedCompositeFieldContainer[_monitor_pb2.Monitor]
    next_page_token: str
    def __init__(self, monitors: _Optional[_Iterable[_Union[_monitor_pb2.Monitor, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteMonitorRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RecordPredictionsRequest(_message.Message):
    __slots__ = ("monitor", "record_ids", "patient_ids", "time_micros", "attributes", "scores", "model_version")
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    RECORD_IDS_FIELD_NUMBER: _ClassVar[int]
    PATIENT_IDS_FIELD_NUMBER: _ClassVar[int]
    TIME_MICROS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    monitor: str
    record_ids: _containers.RepeatedScalarFieldContainer[str]
    patient_ids: _containers.RepeatedScalarFieldContainer[str]
    time_micros: _containers.RepeatedScalarFieldContainer[int]
    attributes: _containers.RepeatedCompositeFieldContainer[AttributeColumn]
    scores: _containers.RepeatedCompositeFieldContainer[ScoreColumn]
    model_version: str
    def __init__(self, monitor: _Optional[str] = ..., record_ids: _Optional[_Iterable[str]] = ..., patient_ids: _Optional[_Iterable[str]] = ..., time_micros: _Optional[_Iterable[int]] = ..., attributes: _Optional[_Iterable[_Union[AttributeColumn, _Mapping]]] = ..., scores: _Optional[_Iterable[_Union[ScoreColumn, _Mapping]]] = ..., model_version: _Optional[str] = ...) -> None: ...

class AttributeColumn(_message.Message):
    __slots__ = ("attribute", "levels", "codes")
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    attribute: str
    levels: _containers.RepeatedScalarFieldContainer[str]
    codes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, attribute: _Optional[str] = ..., levels: _Optional[_Iterable[str]] = ..., codes: _Optional[_Iterable[int]] = ...) -> None: ...

class ScoreColumn(_message.Message):
    __slots__ = ("label", "scores")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    label: str
    scores: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, label: _Optional[str] = ..., scores: _Optional[_Iterable[float]] = ...) -> None: ...

class RecordPredictionsResponse(_message.Message):
    __slots__ = ("recorded", "duplicates", "late")
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    recorded: int
    duplicates: int
    late: int
    def __init__(self, recorded: _Optional[int] = ..., duplicates: _Optional[int] = ..., late: _Optional[int] = ...) -> None: ...

class RecordLabelsRequest(_message.Message):
    __slots__ = ("monitor", "record_ids", "labels")
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    RECORD_IDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    monitor: str
    record_ids: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.RepeatedCompositeFieldContainer[LabelColumn]
    def __init__(self, monitor: _Optional[str] = ..., record_ids: _Optional[_Iterable[str]] = ..., labels: _Optional[_Iterable[_Union[LabelColumn, _Mapping]]] = ...) -> None: ...

class LabelColumn(_message.Message):
    __slots__ = ("label", "values")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    label: str
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, label: _Optional[str] = ..., values: _Optional[_Iterable[int]] = ...) -> None: ...

class RecordLabelsResponse(_message.Message):
    __slots__ = ("recorded", "duplicates", "unknown", "late")
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    recorded: int
    duplicates: int
    unknown: int
    late: int
    def __init__(self, recorded: _Optional[int] = ..., duplicates: _Optional[int] = ..., unknown: _Optional[int] = ..., late: _Optional[int] = ...) -> None: ...

class GetWindowRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListWindowsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "label", "attribute")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    label: str
    attribute: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., label: _Optional[str] = ..., attribute: _Optional[str] = ...) -> None: ...

class ListWindowsResponse(_message.Message):
    __slots__ = ("windows", "next_page_token")
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    windows: _containers.RepeatedCompositeFieldContainer[_drift_pb2.MonitorWindow]
    next_page_token: str
    def __init__(self, windows: _Optional[_Iterable[_Union[_drift_pb2.MonitorWindow, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RederiveWindowRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RederiveWindowMetadata(_message.Message):
    __slots__ = ("stage", "retries", "window")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    stage: str
    retries: int
    window: str
    def __init__(self, stage: _Optional[str] = ..., retries: _Optional[int] = ..., window: _Optional[str] = ...) -> None: ...

class ListAlarmsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAlarmsResponse(_message.Message):
    __slots__ = ("alarms", "next_page_token")
    ALARMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    alarms: _containers.RepeatedCompositeFieldContainer[_drift_pb2.Alarm]
    next_page_token: str
    def __init__(self, alarms: _Optional[_Iterable[_Union[_drift_pb2.Alarm, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
