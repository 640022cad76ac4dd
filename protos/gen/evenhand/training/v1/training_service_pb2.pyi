from evenhand.training.v1 import training_pb2 as _training_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.longrunning import operations_pb2 as _operations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateTrainingRequest(_message.Message):
    __slots__ = ("recipe", "request_id", "seed", "epochs", "patients", "base", "base_version", "mitigation", "data", "alignment")
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    PATIENTS_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    BASE_VERSION_FIELD_NUMBER: _ClassVar[int]
    MITIGATION_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ALIGNMENT_FIELD_NUMBER: _ClassVar[int]
    recipe: str
    request_id: str
    seed: int
    epochs: int
    patients: int
    base: str
    base_version: str
    mitigation: _training_pb2.Mitigation
    data: _training_pb2.TuningData
    alignment: _training_pb2.Alignment
    def __init__(self, recipe: _Optional[str] = ..., request_id: _Optional[str] = ..., seed: _Optional[int] = ..., epochs: _Optional[int] = ..., patients: _Optional[int] = ..., base: _Optional[str] = ..., base_version: _Optional[str] = ..., mitigation: _Optional[_Union[_training_pb2.Mitigation, _Mapping]] = ..., data: _Optional[_Union[_training_pb2.TuningData, _Mapping]] = ..., alignment: _Optional[_Union[_training_pb2.Alignment, _Mapping]] = ...) -> None: ...

class CreateTrainingMetadata(_message.Message):
    __slots__ = ("stage", "epochs_done", "epochs_total", "loss", "training", "weights_done", "weights_total")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_DONE_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DONE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    stage: str
    epochs_done: int
    epochs_total: int
    loss: float
    training: str
    weights_done: int
    weights_total: int
    def __init__(self, stage: _Optional[str] = ..., epochs_done: _Optional[int] = ..., epochs_total: _Optional[int] = ..., loss: _Optional[float] = ..., training: _Optional[str] = ..., weights_done: _Optional[int] = ..., weights_total: _Optional[int] = ...) -> None: ...

class GetTrainingRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListTrainingsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTrainingsResponse(_message.Message):
    __slots__ = ("trainings", "next_page_token")
    TRAININGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    trainings: _containers.RepeatedCompositeFieldContainer[_training_pb2.Training]
    next_page_token: str
    def __init__(self, trainings: _Optional[_Iterable[_Union[_training_pb2.Training, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
