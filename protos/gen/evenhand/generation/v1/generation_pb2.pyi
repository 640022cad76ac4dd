import datetime

from evenhand.resources.v1 import artifact_pb2 as _artifact_pb2
from evenhand.resources.v1 import state_pb2 as _state_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Generation(_message.Message):
    __slots__ = ("name", "display_name", "spec", "state", "operation", "model_version", "model_digest", "upscale_model_version", "upscale_model_digest", "batch_shape", "device", "noise_digest", "images_done", "artifacts", "create_time", "update_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BATCH_SHAPE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    NOISE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    IMAGES_DONE_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    spec: GenerationSpec
    state: _state_pb2.State
    operation: str
    model_version: str
    model_digest: str
    upscale_model_version: str
    upscale_model_digest: str
    batch_shape: _containers.RepeatedScalarFieldContainer[int]
    device: str
    noise_digest: str
    images_done: int
    artifacts: _containers.RepeatedCompositeFieldContainer[_artifact_pb2.Artifact]
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., spec: _Optional[_Union[GenerationSpec, _Mapping]] = ..., state: _Optional[_Union[_state_pb2.State, str]] = ..., operation: _Optional[str] = ..., model_version: _Optional[str] = ..., model_digest: _Optional[str] = ..., upscale_model_version: _Optional[str] = ..., upscale_model_digest: _Optional[str] = ..., batch_shape: _Optional[_Iterable[int]] = ..., device: _Optional[str] = ..., noise_digest: _Optional[str] = ..., images_done: _Optional[int] = ..., artifacts: _Optional[_Iterable[_Union[_artifact_pb2.Artifact, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GenerationSpec(_message.Message):
    __slots__ = ("model", "model_digest", "prompt", "attributes", "mask", "negative_prompt", "guidance", "sampler", "steps", "seed", "count", "first_index", "upscale_model", "upscale_model_digest", "upscale_steps", "upscale_sampler", "formats")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_INDEX_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_MODEL_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_STEPS_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_SAMPLER_FIELD_NUMBER: _ClassVar[int]
    FORMATS_FIELD_NUMBER: _ClassVar[int]
    model: str
    model_digest: str
    prompt: str
    attributes: _containers.ScalarMap[str, str]
    mask: Mask
    negative_prompt: str
    guidance: Guidance
    sampler: str
    steps: int
    seed: int
    count: int
    first_index: int
    upscale_model: str
    upscale_model_digest: str
    upscale_steps: int
    upscale_sampler: str
    formats: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., model_digest: _Optional[str] = ..., prompt: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., mask: _Optional[_Union[Mask, _Mapping]] = ..., negative_prompt: _Optional[str] = ..., guidance: _Optional[_Union[Guidance, _Mapping]] = ..., sampler: _Optional[str] = ..., steps: _Optional[int] = ..., seed: _Optional[int] = ..., count: _Optional[int] = ..., first_index: _Optional[int] = ..., upscale_model: _Optional[str] = ..., upscale_model_digest: _Optional[str] = ..., upscale_steps: _Optional[int] = ..., upscale_sampler: _Optional[str] = ..., formats: _Optional[_Iterable[str]] = ...) -> None: ...

class Guidance(_message.Message):
    __slots__ = ("scale", "low", "high", "rescale")
    SCALE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    RESCALE_FIELD_NUMBER: _ClassVar[int]
    scale: float
    low: float
    high: float
    rescale: float
    def __init__(self, scale: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., rescale: _Optional[float] = ...) -> None: ...

class Mask(_message.Message):
    __slots__ = ("file", "labels", "filename", "sha256")
    FILE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    file: bytes
    labels: LabelMap
    filename: str
    sha256: str
    def __init__(self, file: _Optional[bytes] = ..., labels: _Optional[_Union[LabelMap, _Mapping]] = ..., filename: _Optional[str] = ..., sha256: _Optional[str] = ...) -> None: ...

class LabelMap(_message.Message):
    __slots__ = ("shape", "data")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...

class ImageRecord(_message.Message):
    __slots__ = ("spec", "model_version", "upscale_model_version", "batch_shape", "device", "noise_digest", "pixels_digest", "platform_version", "synthetic")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    BATCH_SHAPE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    NOISE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PIXELS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_VERSION_FIELD_NUMBER: _ClassVar[int]
    SYNTHETIC_FIELD_NUMBER: _ClassVar[int]
    spec: GenerationSpec
    model_version: str
    upscale_model_version: str
    batch_shape: _containers.RepeatedScalarFieldContainer[int]
    device: str
    noise_digest: str
    pixels_digest: str
    platform_version: str
    synthetic: bool
    def __init__(self, spec: _Optional[_Union[GenerationSpec, _Mapping]] = ..., model_version: _Optional[str] = ..., upscale_model_version: _Optional[str] = ..., batch_shape: _Optional[_Iterable[int]] = ..., device: _Optional[str] = ..., noise_digest: _Optional[str] = ..., pixels_digest: _Optional[str] = ..., platform_version: _Optional[str] = ..., synthetic: _Optional[bool] = ...) -> None: ...
