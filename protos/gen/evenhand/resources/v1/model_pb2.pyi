from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Task(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_UNSPECIFIED: _ClassVar[Task]
    TASK_RECONSTRUCTION: _ClassVar[Task]
    TASK_CLASSIFICATION: _ClassVar[Task]
    TASK_SEGMENTATION: _ClassVar[Task]
    TASK_ATTRIBUTE_CLASSIFICATION: _ClassVar[Task]
TASK_UNSPECIFIED: Task
TASK_RECONSTRUCTION: Task
TASK_CLASSIFICATION: Task
TASK_SEGMENTATION: Task
TASK_ATTRIBUTE_CLASSIFICATION: Task

class Model(_message.Message):
    __slots__ = ("name", "version", "task", "family", "input", "output", "labels", "thresholds", "digest", "licence", "training_digest", "backend", "scores")
    class ThresholdsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class ScoresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    TRAINING_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    task: Task
    family: str
    input: PixelSpec
    output: PixelSpec
    labels: _containers.RepeatedScalarFieldContainer[str]
    thresholds: _containers.ScalarMap[str, float]
    digest: str
    licence: str
    training_digest: str
    backend: str
    scores: _containers.ScalarMap[str, float]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., task: _Optional[_Union[Task, str]] = ..., family: _Optional[str] = ..., input: _Optional[_Union[PixelSpec, _Mapping]] = ..., output: _Optional[_Union[PixelSpec, _Mapping]] = ..., labels: _Optional[_Iterable[str]] = ..., thresholds: _Optional[_Mapping[str, float]] = ..., digest: _Optional[str] = ..., licence: _Optional[str] = ..., training_digest: _Optional[str] = ..., backend: _Optional[str] = ..., scores: _Optional[_Mapping[str, float]] = ...) -> None: ...

class PixelSpec(_message.Message):
    __slots__ = ("channels", "height", "width", "low", "high")
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    channels: int
    height: int
    width: int
    low: float
    high: float
    def __init__(self, channels: _Optional[int] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...
