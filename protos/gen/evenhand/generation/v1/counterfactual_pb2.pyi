import datetime

from evenhand.generation.v1 import generation_pb2 as _generation_pb2
from evenhand.resources.v1 import artifact_pb2 as _artifact_pb2
from evenhand.resources.v1 import state_pb2 as _state_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Counterfactual(_message.Message):
    __slots__ = ("name", "display_name", "spec", "state", "operation", "model_version", "model_digest", "upscale_model_version", "upscale_model_digest", "classifier_model_version", "classifier_model_digest", "batch_shape", "device", "noise_digest", "frames_done", "artifacts", "warnings", "create_time", "update_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BATCH_SHAPE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    NOISE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    FRAMES_DONE_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    spec: CounterfactualSpec
    state: _state_pb2.State
    operation: str
    model_version: str
    model_digest: str
    upscale_model_version: str
    upscale_model_digest: str
    classifier_model_version: str
    classifier_model_digest: str
    batch_shape: _containers.RepeatedScalarFieldContainer[int]
    device: str
    noise_digest: str
    frames_done: int
    artifacts: _containers.RepeatedCompositeFieldContainer[_artifact_pb2.Artifact]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., spec: _Optional[_Union[CounterfactualSpec, _Mapping]] = ..., state: _Optional[_Union[_state_pb2.State, str]] = ..., operation: _Optional[str] = ..., model_version: _Optional[str] = ..., model_digest: _Optional[str] = ..., upscale_model_version: _Optional[str] = ..., upscale_model_digest: _Optional[str] = ..., classifier_model_version: _Optional[str] = ..., classifier_model_digest: _Optional[str] = ..., batch_shape: _Optional[_Iterable[int]] = ..., device: _Optional[str] = ..., noise_digest: _Optional[str] = ..., frames_done: _Optional[int] = ..., artifacts: _Optional[_Iterable[_Union[_artifact_pb2.Artifact, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CounterfactualSpec(_message.Message):
    __slots__ = ("model", "model_digest", "source_attributes", "target_attributes", "held_attributes", "both_directions", "frames", "path", "guidance", "sampler", "steps", "seed", "upscale_model", "upscale_model_digest", "upscale_steps", "upscale_sampler", "classifier_model", "formats")
    class SourceAttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class TargetAttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class HeldAttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    TARGET_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    HELD_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    BOTH_DIRECTIONS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_MODEL_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_STEPS_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_SAMPLER_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_MODEL_FIELD_NUMBER: _ClassVar[int]
    FORMATS_FIELD_NUMBER: _ClassVar[int]
    model: str
    model_digest: str
    source_attributes: _containers.ScalarMap[str, str]
    target_attributes: _containers.ScalarMap[str, str]
    held_attributes: _containers.ScalarMap[str, str]
    both_directions: bool
    frames: int
    path: str
    guidance: _generation_pb2.Guidance
    sampler: str
    steps: int
    seed: int
    upscale_model: str
    upscale_model_digest: str
    upscale_steps: int
    upscale_sampler: str
    classifier_model: str
    formats: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., model_digest: _Optional[str] = ..., source_attributes: _Optional[_Mapping[str, str]] = ..., target_attributes: _Optional[_Mapping[str, str]] = ..., held_attributes: _Optional[_Mapping[str, str]] = ..., both_directions: _Optional[bool] = ..., frames: _Optional[int] = ..., path: _Optional[str] = ..., guidance: _Optional[_Union[_generation_pb2.Guidance, _Mapping]] = ..., sampler: _Optional[str] = ..., steps: _Optional[int] = ..., seed: _Optional[int] = ..., upscale_model: _Optional[str] = ..., upscale_model_digest: _Optional[str] = ..., upscale_steps: _Optional[int] = ..., upscale_sampler: _Optional[str] = ..., classifier_model: _Optional[str] = ..., formats: _Optional[_Iterable[str]] = ...) -> None: ...
