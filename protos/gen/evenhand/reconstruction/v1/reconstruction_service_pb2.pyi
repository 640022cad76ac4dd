from evenhand.resources.v1 import image_pb2 as _image_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateReconstructionRequest(_message.Message):
    __slots__ = ("model", "image")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    model: str
    image: _image_pb2.Image
    def __init__(self, model: _Optional[str] = ..., image: _Optional[_Union[_image_pb2.Image, _Mapping]] = ...) -> None: ...

class Reconstruction(_message.Message):
    __slots__ = ("model", "model_version", "model_digest", "image")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    model: str
    model_version: str
    model_digest: str
    image: _image_pb2.Tensor
    def __init__(self, model: _Optional[str] = ..., model_version: _Optional[str] = ..., model_digest: _Optional[str] = ..., image: _Optional[_Union[_image_pb2.Tensor, _Mapping]] = ...) -> None: ...
