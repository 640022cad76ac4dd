from evenhand.generation.v1 import counterfactual_pb2 as _counterfactual_pb2
from evenhand.generation.v1 import generation_pb2 as _generation_pb2
from evenhand.resources.v1 import image_pb2 as _image_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.longrunning import operations_pb2 as _operations_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateGenerationRequest(_message.Message):
    __slots__ = ("spec", "display_name", "request_id")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    spec: _generation_pb2.GenerationSpec
    display_name: str
    request_id: str
    def __init__(self, spec: _Optional[_Union[_generation_pb2.GenerationSpec, _Mapping]] = ..., display_name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateGenerationMetadata(_message.Message):
    __slots__ = ("stage", "images_done", "images_total", "steps_done", "steps_total", "images_per_s", "eta_s", "retries", "generation")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_DONE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    STEPS_DONE_FIELD_NUMBER: _ClassVar[int]
    STEPS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_PER_S_FIELD_NUMBER: _ClassVar[int]
    ETA_S_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    stage: str
    images_done: int
    images_total: int
    steps_done: int
    steps_total: int
    images_per_s: float
    eta_s: float
    retries: int
    generation: str
    def __init__(self, stage: _Optional[str] = ..., images_done: _Optional[int] = ..., images_total: _Optional[int] = ..., steps_done: _Optional[int] = ..., steps_total: _Optional[int] = ..., images_per_s: _Optional[float] = ..., eta_s: _Optional[float] = ..., retries: _Optional[int] = ..., generation: _Optional[str] = ...) -> None: ...

class GenerateImagesRequest(_message.Message):
    __slots__ = ("spec", "previews_every")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    PREVIEWS_EVERY_FIELD_NUMBER: _ClassVar[int]
    spec: _generation_pb2.GenerationSpec
    previews_every: int
    def __init__(self, spec: _Optional[_Union[_generation_pb2.GenerationSpec, _Mapping]] = ..., previews_every: _Optional[int] = ...) -> None: ...

class GenerateImagesResponse(_message.Message):
    __slots__ = ("index", "preview", "step", "steps", "image", "record_json")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    RECORD_JSON_FIELD_NUMBER: _ClassVar[int]
    index: int
    preview: bool
    step: int
    steps: int
    image: _image_pb2.Tensor
    record_json: str
    def __init__(self, index: _Optional[int] = ..., preview: _Optional[bool] = ..., step: _Optional[int] = ..., steps: _Optional[int] = ..., image: _Optional[_Union[_image_pb2.Tensor, _Mapping]] = ..., record_json: _Optional[str] = ...) -> None: ...

class GetGenerationRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListGenerationsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "model")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    model: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class ListGenerationsResponse(_message.Message):
    __slots__ = ("generations", "next_page_token")
    GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    generations: _containers.RepeatedCompositeFieldContainer[_generation_pb2.Generation]
    next_page_token: str
    def __init__(self, generations: _Optional[_Iterable[_Union[_generation_pb2.Generation, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteGenerationRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class CreateCounterfactualRequest(_message.Message):
    __slots__ = ("spec", "display_name", "request_id")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    spec: _counterfactual_pb2.CounterfactualSpec
    display_name: str
    request_id: str
    def __init__(self, spec: _Optional[_Union[_counterfactual_pb2.CounterfactualSpec, _Mapping]] = ..., display_name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateCounterfactualMetadata(_message.Message):
    __slots__ = ("stage", "frames_done", "frames_total", "steps_done", "steps_total", "frames_per_s", "eta_s", "retries", "counterfactual")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    FRAMES_DONE_FIELD_NUMBER: _ClassVar[int]
    FRAMES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    STEPS_DONE_FIELD_NUMBER: _ClassVar[int]
    STEPS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_S_FIELD_NUMBER: _ClassVar[int]
    ETA_S_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    COUNTERFACTUAL_FIELD_NUMBER: _ClassVar[int]
    stage: str
    frames_done: int
    frames_total: int
    steps_done: int
    steps_total: int
    frames_per_s: float
    eta_s: float
    retries: int
    counterfactual: str
    def __init__(self, stage: _Optional[str] = ..., frames_done: _Optional[int] = ..., frames_total: _Optional[int] = ..., steps_done: _Optional[int] = ..., steps_total: _Optional[int] = ..., frames_per_s: _Optional[float] = ..., eta_s: _Optional[float] = ..., retries: _Optional[int] = ..., counterfactual: _Optional[str] = ...) -> None: ...

class GetCounterfactualRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListCounterfactualsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "model")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    model: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class ListCounterfactualsResponse(_message.Message):
    __slots__ = ("counterfactuals", "next_page_token")
    COUNTERFACTUALS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    counterfactuals: _containers.RepeatedCompositeFieldContainer[_counterfactual_pb2.Counterfactual]
    next_page_token: str
    def __init__(self, counterfactuals: _Optional[_Iterable[_Union[_counterfactual_pb2.Counterfactual, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteCounterfactualRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...
