import datetime

from evenhand.monitoring.v1 import monitor_pb2 as _monitor_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MonitorWindow(_message.Message):
    __slots__ = ("name", "index", "start_time", "end_time", "digest", "revision", "records", "patients", "labelled", "conflicts", "model_versions", "points", "cells", "key", "close_time", "late_rows", "rates")
    class ModelVersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    PATIENTS_FIELD_NUMBER: _ClassVar[int]
    LABELLED_FIELD_NUMBER: _ClassVar[int]
    CONFLICTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    CLOSE_TIME_FIELD_NUMBER: _ClassVar[int]
    LATE_ROWS_FIELD_NUMBER: _ClassVar[int]
    RATES_FIELD_NUMBER: _ClassVar[int]
    name: str
    index: int
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    digest: str
    revision: int
    records: int
    patients: int
    labelled: int
    conflicts: int
    model_versions: _containers.ScalarMap[str, int]
    points: _containers.RepeatedCompositeFieldContainer[SeriesPoint]
    cells: _containers.RepeatedCompositeFieldContainer[WindowCell]
    key: str
    close_time: _timestamp_pb2.Timestamp
    late_rows: int
    rates: _containers.RepeatedCompositeFieldContainer[PredictionPoweredRate]
    def __init__(self, name: _Optional[str] = ..., index: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., digest: _Optional[str] = ..., revision: _Optional[int] = ..., records: _Optional[int] = ..., patients: _Optional[int] = ..., labelled: _Optional[int] = ..., conflicts: _Optional[int] = ..., model_versions: _Optional[_Mapping[str, int]] = ..., points: _Optional[_Iterable[_Union[SeriesPoint, _Mapping]]] = ..., cells: _Optional[_Iterable[_Union[WindowCell, _Mapping]]] = ..., key: _Optional[str] = ..., close_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., late_rows: _Optional[int] = ..., rates: _Optional[_Iterable[_Union[PredictionPoweredRate, _Mapping]]] = ...) -> None: ...

class PredictionPoweredRate(_message.Message):
    __slots__ = ("label", "attribute", "group", "metric", "value", "low", "high", "labels_value", "labels_low", "labels_high", "labelled", "unlabelled", "running", "running_low", "running_high", "hint")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LABELS_VALUE_FIELD_NUMBER: _ClassVar[int]
    LABELS_LOW_FIELD_NUMBER: _ClassVar[int]
    LABELS_HIGH_FIELD_NUMBER: _ClassVar[int]
    LABELLED_FIELD_NUMBER: _ClassVar[int]
    UNLABELLED_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    RUNNING_LOW_FIELD_NUMBER: _ClassVar[int]
    RUNNING_HIGH_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    label: str
    attribute: str
    group: str
    metric: str
    value: float
    low: float
    high: float
    labels_value: float
    labels_low: float
    labels_high: float
    labelled: int
    unlabelled: int
    running: float
    running_low: float
    running_high: float
    hint: float
    def __init__(self, label: _Optional[str] = ..., attribute: _Optional[str] = ..., group: _Optional[str] = ..., metric: _Optional[str] = ..., value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., labels_value: _Optional[float] = ..., labels_low: _Optional[float] = ..., labels_high: _Optional[float] = ..., labelled: _Optional[int] = ..., unlabelled: _Optional[int] = ..., running: _Optional[float] = ..., running_low: _Optional[float] = ..., running_high: _Optional[float] = ..., hint: _Optional[float] = ...) -> None: ...

class WindowCell(_message.Message):
    __slots__ = ("label", "attribute", "group", "records", "patients", "labelled", "positives", "values")
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    PATIENTS_FIELD_NUMBER: _ClassVar[int]
    LABELLED_FIELD_NUMBER: _ClassVar[int]
    POSITIVES_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    label: str
    attribute: str
    group: str
    records: int
    patients: int
    labelled: int
    positives: int
    values: _containers.ScalarMap[str, float]
    def __init__(self, label: _Optional[str] = ..., attribute: _Optional[str] = ..., group: _Optional[str] = ..., records: _Optional[int] = ..., patients: _Optional[int] = ..., labelled: _Optional[int] = ..., positives: _Optional[int] = ..., values: _Optional[_Mapping[str, float]] = ...) -> None: ...

class SeriesPoint(_message.Message):
    __slots__ = ("key", "state", "gap", "standard_error", "change", "low", "high", "e_value", "cases", "patients", "alarmed", "value", "records")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    E_VALUE_FIELD_NUMBER: _ClassVar[int]
    CASES_FIELD_NUMBER: _ClassVar[int]
    PATIENTS_FIELD_NUMBER: _ClassVar[int]
    ALARMED_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    key: _monitor_pb2.SeriesKey
    state: str
    gap: float
    standard_error: float
    change: float
    low: float
    high: float
    e_value: float
    cases: int
    patients: int
    alarmed: bool
    value: float
    records: int
    def __init__(self, key: _Optional[_Union[_monitor_pb2.SeriesKey, _Mapping]] = ..., state: _Optional[str] = ..., gap: _Optional[float] = ..., standard_error: _Optional[float] = ..., change: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., e_value: _Optional[float] = ..., cases: _Optional[int] = ..., patients: _Optional[int] = ..., alarmed: _Optional[bool] = ..., value: _Optional[float] = ..., records: _Optional[int] = ...) -> None: ...

class Alarm(_message.Message):
    __slots__ = ("name", "key", "window", "window_end", "arm", "change", "low", "high", "e_value", "since_window", "since_time", "patients", "moved", "summary", "create_time", "model_versions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    E_VALUE_FIELD_NUMBER: _ClassVar[int]
    SINCE_WINDOW_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    PATIENTS_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    key: _monitor_pb2.SeriesKey
    window: str
    window_end: _timestamp_pb2.Timestamp
    arm: str
    change: float
    low: float
    high: float
    e_value: float
    since_window: int
    since_time: _timestamp_pb2.Timestamp
    patients: int
    moved: _containers.RepeatedCompositeFieldContainer[Movement]
    summary: str
    create_time: _timestamp_pb2.Timestamp
    model_versions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., key: _Optional[_Union[_monitor_pb2.SeriesKey, _Mapping]] = ..., window: _Optional[str] = ..., window_end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., arm: _Optional[str] = ..., change: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., e_value: _Optional[float] = ..., since_window: _Optional[int] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., patients: _Optional[int] = ..., moved: _Optional[_Iterable[_Union[Movement, _Mapping]]] = ..., summary: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., model_versions: _Optional[_Iterable[str]] = ...) -> None: ...

class Movement(_message.Message):
    __slots__ = ("what", "change", "low", "high", "moved")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    what: str
    change: float
    low: float
    high: float
    moved: bool
    def __init__(self, what: _Optional[str] = ..., change: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., moved: _Optional[bool] = ...) -> None: ...
