from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AuditPlan(_message.Message):
    __slots__ = ("digest", "warnings", "cells", "tests", "alpha", "target_power", "assumptions", "acquisitions")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    TESTS_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    TARGET_POWER_FIELD_NUMBER: _ClassVar[int]
    ASSUMPTIONS_FIELD_NUMBER: _ClassVar[int]
    ACQUISITIONS_FIELD_NUMBER: _ClassVar[int]
    digest: str
    warnings: _containers.RepeatedScalarFieldContainer[str]
    cells: _containers.RepeatedCompositeFieldContainer[PlannedCell]
    tests: int
    alpha: float
    target_power: float
    assumptions: _containers.RepeatedScalarFieldContainer[str]
    acquisitions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, digest: _Optional[str] = ..., warnings: _Optional[_Iterable[str]] = ..., cells: _Optional[_Iterable[_Union[PlannedCell, _Mapping]]] = ..., tests: _Optional[int] = ..., alpha: _Optional[float] = ..., target_power: _Optional[float] = ..., assumptions: _Optional[_Iterable[str]] = ..., acquisitions: _Optional[_Iterable[str]] = ...) -> None: ...

class PlannedCell(_message.Message):
    __slots__ = ("task", "label", "metric", "attribute", "group", "records", "patients", "patients_with_positives", "patients_with_negatives", "positives", "negatives", "state", "minimum_detectable_gap", "power", "tolerance")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[PlannedCell.State]
        STATE_OK: _ClassVar[PlannedCell.State]
        STATE_WIDE: _ClassVar[PlannedCell.State]
        STATE_INSUFFICIENT: _ClassVar[PlannedCell.State]
        STATE_UNDEFINED: _ClassVar[PlannedCell.State]
    STATE_UNSPECIFIED: PlannedCell.State
    STATE_OK: PlannedCell.State
    STATE_WIDE: PlannedCell.State
    STATE_INSUFFICIENT: PlannedCell.State
    STATE_UNDEFINED: PlannedCell.State
    TASK_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    PATIENTS_FIELD_NUMBER: _ClassVar[int]
    PATIENTS_WITH_POSITIVES_FIELD_NUMBER: _ClassVar[int]
    PATIENTS_WITH_NEGATIVES_FIELD_NUMBER: _ClassVar[int]
    POSITIVES_FIELD_NUMBER: _ClassVar[int]
    NEGATIVES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_DETECTABLE_GAP_FIELD_NUMBER: _ClassVar[int]
    POWER_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    task: str
    label: str
    metric: str
    attribute: str
    group: str
    records: int
    patients: int
    patients_with_positives: int
    patients_with_negatives: int
    positives: int
    negatives: int
    state: PlannedCell.State
    minimum_detectable_gap: float
    power: float
    tolerance: float
    def __init__(self, task: _Optional[str] = ..., label: _Optional[str] = ..., metric: _Optional[str] = ..., attribute: _Optional[str] = ..., group: _Optional[str] = ..., records: _Optional[int] = ..., patients: _Optional[int] = ..., patients_with_positives: _Optional[int] = ..., patients_with_negatives: _Optional[int] = ..., positives: _Optional[int] = ..., negatives: _Optional[int] = ..., state: _Optional[_Union[PlannedCell.State, str]] = ..., minimum_detectable_gap: _Optional[float] = ..., power: _Optional[float] = ..., tolerance: _Optional[float] = ...) -> None: ...
