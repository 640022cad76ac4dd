from evenhand.resources.v1 import image_pb2 as _image_pb2
from evenhand.upscaling.v1 import upscaling_pb2 as _upscaling_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.longrunning import operations_pb2 as _operations_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateUpscalingRequest(_message.Message):
    __slots__ = ("image", "spec", "display_name", "request_id")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    image: _image_pb2.Image
    spec: _upscaling_pb2.UpscalingSpec
    display_name: str
    request_id: str
    def __init__(self, image: _Optional[_Union[_image_pb2.Image, _Mapping]] = ..., spec: _Optional[_Union[_upscaling_pb2.UpscalingSpec, _Mapping]] = ..., display_name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateUpscalingMetadata(_message.Message):
    __slots__ = ("stage", "tiles_done", "tiles_total", "steps_done", "steps_total", "eta_s", "retries", "upscaling")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    TILES_DONE_FIELD_NUMBER: _ClassVar[int]
    TILES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    STEPS_DONE_FIELD_NUMBER: _ClassVar[int]
    STEPS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    ETA_S_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    UPSCALING_FIELD_NUMBER: _ClassVar[int]
    stage: str
    tiles_done: int
    tiles_total: int
    steps_done: int
    steps_total: int
    eta_s: float
    retries: int
    upscaling: str
    def __init__(self, stage: _Optional[str] = ..., tiles_done: _Optional[int] = ..., tiles_total: _Optional[int] = ..., steps_done: _Optional[int] = ..., steps_total: _Optional[int] = ..., eta_s: _Optional[float] = ..., retries: _Optional[int] = ..., upscaling: _Optional[str] = ...) -> None: ...

class GetUpscalingRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListUpscalingsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "model")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    model: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class ListUpscalingsResponse(_message.Message):
    __slots__ = ("upscalings", "next_page_token")
    UPSCALINGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    upscalings: _containers.RepeatedCompositeFieldContainer[_upscaling_pb2.Upscaling]
    next_page_token: str
    def __init__(self, upscalings: _Optional[_Iterable[_Union[_upscaling_pb2.Upscaling, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteUpscalingRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...
