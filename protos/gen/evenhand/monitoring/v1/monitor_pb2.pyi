import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Monitor(_message.Message):
    __slots__ = ("name", "display_name", "spec", "digest", "state", "plan", "arrivals", "closed_windows", "alarms", "last_window_end", "trouble", "create_time", "update_time")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Monitor.State]
        STATE_WAITING: _ClassVar[Monitor.State]
        STATE_WATCHING: _ClassVar[Monitor.State]
        STATE_ALARMED: _ClassVar[Monitor.State]
        STATE_FINISHED: _ClassVar[Monitor.State]
    STATE_UNSPECIFIED: Monitor.State
    STATE_WAITING: Monitor.State
    STATE_WATCHING: Monitor.State
    STATE_ALARMED: Monitor.State
    STATE_FINISHED: Monitor.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    ARRIVALS_FIELD_NUMBER: _ClassVar[int]
    CLOSED_WINDOWS_FIELD_NUMBER: _ClassVar[int]
    ALARMS_FIELD_NUMBER: _ClassVar[int]
    LAST_WINDOW_END_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    spec: MonitorSpec
    digest: str
    state: Monitor.State
    plan: MonitorPlan
    arrivals: Arrivals
    closed_windows: int
    alarms: int
    last_window_end: _timestamp_pb2.Timestamp
    trouble: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., spec: _Optional[_Union[MonitorSpec, _Mapping]] = ..., digest: _Optional[str] = ..., state: _Optional[_Union[Monitor.State, str]] = ..., plan: _Optional[_Union[MonitorPlan, _Mapping]] = ..., arrivals: _Optional[_Union[Arrivals, _Mapping]] = ..., closed_windows: _Optional[int] = ..., alarms: _Optional[int] = ..., last_window_end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., trouble: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class MonitorSpec(_message.Message):
    __slots__ = ("model", "labels", "attributes", "groupings", "metrics", "window", "reference", "alpha", "planned_windows", "source")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    GROUPINGS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    PLANNED_WINDOWS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    model: str
    labels: _containers.RepeatedCompositeFieldContainer[WatchedLabel]
    attributes: _containers.RepeatedCompositeFieldContainer[WatchedAttribute]
    groupings: _containers.RepeatedScalarFieldContainer[str]
    metrics: _containers.RepeatedScalarFieldContainer[str]
    window: Window
    reference: Reference
    alpha: float
    planned_windows: int
    source: Source
    def __init__(self, model: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[WatchedLabel, _Mapping]]] = ..., attributes: _Optional[_Iterable[_Union[WatchedAttribute, _Mapping]]] = ..., groupings: _Optional[_Iterable[str]] = ..., metrics: _Optional[_Iterable[str]] = ..., window: _Optional[_Union[Window, _Mapping]] = ..., reference: _Optional[_Union[Reference, _Mapping]] = ..., alpha: _Optional[float] = ..., planned_windows: _Optional[int] = ..., source: _Optional[_Union[Source, _Mapping]] = ...) -> None: ...

class WatchedLabel(_message.Message):
    __slots__ = ("label", "threshold")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    label: str
    threshold: float
    def __init__(self, label: _Optional[str] = ..., threshold: _Optional[float] = ...) -> None: ...

class WatchedAttribute(_message.Message):
    __slots__ = ("attribute", "levels")
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    attribute: str
    levels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, attribute: _Optional[str] = ..., levels: _Optional[_Iterable[str]] = ...) -> None: ...

class Window(_message.Message):
    __slots__ = ("length", "records", "origin", "label_delay")
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    LABEL_DELAY_FIELD_NUMBER: _ClassVar[int]
    length: _duration_pb2.Duration
    records: int
    origin: _timestamp_pb2.Timestamp
    label_delay: _duration_pb2.Duration
    def __init__(self, length: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., records: _Optional[int] = ..., origin: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., label_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Reference(_message.Message):
    __slots__ = ("audit", "first_windows", "pipeline")
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    FIRST_WINDOWS_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    audit: str
    first_windows: int
    pipeline: str
    def __init__(self, audit: _Optional[str] = ..., first_windows: _Optional[int] = ..., pipeline: _Optional[str] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("tap", "folder")
    TAP_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    tap: Tap
    folder: str
    def __init__(self, tap: _Optional[_Union[Tap, _Mapping]] = ..., folder: _Optional[str] = ...) -> None: ...

class Tap(_message.Message):
    __slots__ = ("sampling_rate",)
    SAMPLING_RATE_FIELD_NUMBER: _ClassVar[int]
    sampling_rate: float
    def __init__(self, sampling_rate: _Optional[float] = ...) -> None: ...

class MonitorPlan(_message.Message):
    __slots__ = ("series", "warnings")
    SERIES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    series: _containers.RepeatedCompositeFieldContainer[PlannedSeries]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, series: _Optional[_Iterable[_Union[PlannedSeries, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class PlannedSeries(_message.Message):
    __slots__ = ("key", "cases_per_window", "minimum_detectable_change")
    KEY_FIELD_NUMBER: _ClassVar[int]
    CASES_PER_WINDOW_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_DETECTABLE_CHANGE_FIELD_NUMBER: _ClassVar[int]
    key: SeriesKey
    cases_per_window: float
    minimum_detectable_change: float
    def __init__(self, key: _Optional[_Union[SeriesKey, _Mapping]] = ..., cases_per_window: _Optional[float] = ..., minimum_detectable_change: _Optional[float] = ...) -> None: ...

class SeriesKey(_message.Message):
    __slots__ = ("label", "metric", "attribute", "group")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    label: str
    metric: str
    attribute: str
    group: str
    def __init__(self, label: _Optional[str] = ..., metric: _Optional[str] = ..., attribute: _Optional[str] = ..., group: _Optional[str] = ...) -> None: ...

class Arrivals(_message.Message):
    __slots__ = ("predictions", "labels", "duplicates", "conflicts", "unknown_labels", "late_predictions", "late_labels", "label_delay_s")
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    CONFLICTS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_LABELS_FIELD_NUMBER: _ClassVar[int]
    LATE_PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    LATE_LABELS_FIELD_NUMBER: _ClassVar[int]
    LABEL_DELAY_S_FIELD_NUMBER: _ClassVar[int]
    predictions: int
    labels: int
    duplicates: int
    conflicts: int
    unknown_labels: int
    late_predictions: int
    late_labels: int
    label_delay_s: float
    def __init__(self, predictions: _Optional[int] = ..., labels: _Optional[int] = ..., duplicates: _Optional[int] = ..., conflicts: _Optional[int] = ..., unknown_labels: _Optional[int] = ..., late_predictions: _Optional[int] = ..., late_labels: _Optional[int] = ..., label_delay_s: _Optional[float] = ...) -> None: ...
