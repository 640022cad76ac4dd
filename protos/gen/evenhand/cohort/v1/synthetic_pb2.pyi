from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SyntheticSpec(_message.Message):
    __slots__ = ("cohort", "model", "attributes", "labels", "template", "words", "images", "cap", "seed", "split", "skip_empty_groups", "steps", "sampler", "guidance_scale", "negative_prompt")
    class WordsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Words
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Words, _Mapping]] = ...) -> None: ...
    COHORT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    CAP_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    SKIP_EMPTY_GROUPS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    cohort: str
    model: str
    attributes: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.RepeatedScalarFieldContainer[str]
    template: str
    words: _containers.MessageMap[str, Words]
    images: int
    cap: int
    seed: int
    split: str
    skip_empty_groups: bool
    steps: int
    sampler: str
    guidance_scale: float
    negative_prompt: str
    def __init__(self, cohort: _Optional[str] = ..., model: _Optional[str] = ..., attributes: _Optional[_Iterable[str]] = ..., labels: _Optional[_Iterable[str]] = ..., template: _Optional[str] = ..., words: _Optional[_Mapping[str, Words]] = ..., images: _Optional[int] = ..., cap: _Optional[int] = ..., seed: _Optional[int] = ..., split: _Optional[str] = ..., skip_empty_groups: _Optional[bool] = ..., steps: _Optional[int] = ..., sampler: _Optional[str] = ..., guidance_scale: _Optional[float] = ..., negative_prompt: _Optional[str] = ...) -> None: ...

class Words(_message.Message):
    __slots__ = ("of_level",)
    class OfLevelEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    OF_LEVEL_FIELD_NUMBER: _ClassVar[int]
    of_level: _containers.ScalarMap[str, str]
    def __init__(self, of_level: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Synthetic(_message.Message):
    __slots__ = ("spec", "source_digest", "model_version", "model_digest", "groups", "images", "distinct_noise", "left_out", "empty_groups", "batch_shape", "device", "platform_version")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    SOURCE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    DISTINCT_NOISE_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    EMPTY_GROUPS_FIELD_NUMBER: _ClassVar[int]
    BATCH_SHAPE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_VERSION_FIELD_NUMBER: _ClassVar[int]
    spec: SyntheticSpec
    source_digest: str
    model_version: str
    model_digest: str
    groups: _containers.RepeatedCompositeFieldContainer[SyntheticGroup]
    images: int
    distinct_noise: int
    left_out: int
    empty_groups: _containers.RepeatedScalarFieldContainer[str]
    batch_shape: _containers.RepeatedScalarFieldContainer[int]
    device: str
    platform_version: str
    def __init__(self, spec: _Optional[_Union[SyntheticSpec, _Mapping]] = ..., source_digest: _Optional[str] = ..., model_version: _Optional[str] = ..., model_digest: _Optional[str] = ..., groups: _Optional[_Iterable[_Union[SyntheticGroup, _Mapping]]] = ..., images: _Optional[int] = ..., distinct_noise: _Optional[int] = ..., left_out: _Optional[int] = ..., empty_groups: _Optional[_Iterable[str]] = ..., batch_shape: _Optional[_Iterable[int]] = ..., device: _Optional[str] = ..., platform_version: _Optional[str] = ...) -> None: ...

class SyntheticGroup(_message.Message):
    __slots__ = ("name", "levels", "patients", "records", "share_without_cap", "expected_share", "images", "share", "images_per_patient", "images_without_cap")
    class LevelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    PATIENTS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    SHARE_WITHOUT_CAP_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SHARE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_PER_PATIENT_FIELD_NUMBER: _ClassVar[int]
    IMAGES_WITHOUT_CAP_FIELD_NUMBER: _ClassVar[int]
    name: str
    levels: _containers.ScalarMap[str, str]
    patients: int
    records: int
    share_without_cap: float
    expected_share: float
    images: int
    share: float
    images_per_patient: float
    images_without_cap: int
    def __init__(self, name: _Optional[str] = ..., levels: _Optional[_Mapping[str, str]] = ..., patients: _Optional[int] = ..., records: _Optional[int] = ..., share_without_cap: _Optional[float] = ..., expected_share: _Optional[float] = ..., images: _Optional[int] = ..., share: _Optional[float] = ..., images_per_patient: _Optional[float] = ..., images_without_cap: _Optional[int] = ...) -> None: ...
