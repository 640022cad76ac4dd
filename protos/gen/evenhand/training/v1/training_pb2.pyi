import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Training(_message.Message):
    __slots__ = ("name", "recipe", "operation", "seed", "epochs", "model", "model_version", "scores", "create_time", "base", "base_version", "base_digest", "mitigation", "data", "versions", "data_digest", "alignment")
    class ScoresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    BASE_VERSION_FIELD_NUMBER: _ClassVar[int]
    BASE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    MITIGATION_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    DATA_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ALIGNMENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    recipe: str
    operation: str
    seed: int
    epochs: int
    model: str
    model_version: str
    scores: _containers.ScalarMap[str, float]
    create_time: _timestamp_pb2.Timestamp
    base: str
    base_version: str
    base_digest: str
    mitigation: Mitigation
    data: TuningData
    versions: _containers.RepeatedCompositeFieldContainer[TunedVersion]
    data_digest: str
    alignment: Alignment
    def __init__(self, name: _Optional[str] = ..., recipe: _Optional[str] = ..., operation: _Optional[str] = ..., seed: _Optional[int] = ..., epochs: _Optional[int] = ..., model: _Optional[str] = ..., model_version: _Optional[str] = ..., scores: _Optional[_Mapping[str, float]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., base: _Optional[str] = ..., base_version: _Optional[str] = ..., base_digest: _Optional[str] = ..., mitigation: _Optional[_Union[Mitigation, _Mapping]] = ..., data: _Optional[_Union[TuningData, _Mapping]] = ..., versions: _Optional[_Iterable[_Union[TunedVersion, _Mapping]]] = ..., data_digest: _Optional[str] = ..., alignment: _Optional[_Union[Alignment, _Mapping]] = ...) -> None: ...

class Alignment(_message.Message):
    __slots__ = ("shares", "joint", "prompts", "test_prompts", "confidence", "preservation", "flipped_weight", "encoder", "encoder_version", "method", "part", "rank", "batch_prompts", "batch_images", "least_steps", "most_steps", "sampler", "guidance_scale", "evaluations", "learning_rate", "test_images", "least_noise", "holding")
    SHARES_FIELD_NUMBER: _ClassVar[int]
    JOINT_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    TEST_PROMPTS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    PRESERVATION_FIELD_NUMBER: _ClassVar[int]
    FLIPPED_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    ENCODER_VERSION_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    BATCH_PROMPTS_FIELD_NUMBER: _ClassVar[int]
    BATCH_IMAGES_FIELD_NUMBER: _ClassVar[int]
    LEAST_STEPS_FIELD_NUMBER: _ClassVar[int]
    MOST_STEPS_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    TEST_IMAGES_FIELD_NUMBER: _ClassVar[int]
    LEAST_NOISE_FIELD_NUMBER: _ClassVar[int]
    HOLDING_FIELD_NUMBER: _ClassVar[int]
    shares: _containers.RepeatedCompositeFieldContainer[AlignedShares]
    joint: bool
    prompts: _containers.RepeatedScalarFieldContainer[str]
    test_prompts: _containers.RepeatedScalarFieldContainer[str]
    confidence: float
    preservation: float
    flipped_weight: float
    encoder: str
    encoder_version: str
    method: str
    part: str
    rank: int
    batch_prompts: int
    batch_images: int
    least_steps: int
    most_steps: int
    sampler: str
    guidance_scale: float
    evaluations: int
    learning_rate: float
    test_images: int
    least_noise: float
    holding: float
    def __init__(self, shares: _Optional[_Iterable[_Union[AlignedShares, _Mapping]]] = ..., joint: _Optional[bool] = ..., prompts: _Optional[_Iterable[str]] = ..., test_prompts: _Optional[_Iterable[str]] = ..., confidence: _Optional[float] = ..., preservation: _Optional[float] = ..., flipped_weight: _Optional[float] = ..., encoder: _Optional[str] = ..., encoder_version: _Optional[str] = ..., method: _Optional[str] = ..., part: _Optional[str] = ..., rank: _Optional[int] = ..., batch_prompts: _Optional[int] = ..., batch_images: _Optional[int] = ..., least_steps: _Optional[int] = ..., most_steps: _Optional[int] = ..., sampler: _Optional[str] = ..., guidance_scale: _Optional[float] = ..., evaluations: _Optional[int] = ..., learning_rate: _Optional[float] = ..., test_images: _Optional[int] = ..., least_noise: _Optional[float] = ..., holding: _Optional[float] = ...) -> None: ...

class AlignedShares(_message.Message):
    __slots__ = ("attribute", "target", "classifier", "classifier_version", "judge", "judge_version", "cohort")
    class TargetEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_VERSION_FIELD_NUMBER: _ClassVar[int]
    JUDGE_FIELD_NUMBER: _ClassVar[int]
    JUDGE_VERSION_FIELD_NUMBER: _ClassVar[int]
    COHORT_FIELD_NUMBER: _ClassVar[int]
    attribute: str
    target: _containers.ScalarMap[str, float]
    classifier: str
    classifier_version: str
    judge: str
    judge_version: str
    cohort: str
    def __init__(self, attribute: _Optional[str] = ..., target: _Optional[_Mapping[str, float]] = ..., classifier: _Optional[str] = ..., classifier_version: _Optional[str] = ..., judge: _Optional[str] = ..., judge_version: _Optional[str] = ..., cohort: _Optional[str] = ...) -> None: ...

class Mitigation(_message.Message):
    __slots__ = ("method", "attributes", "weights", "temperature", "label_conditional", "missing", "predictor", "predictor_version", "labels")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    LABEL_CONDITIONAL_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    PREDICTOR_FIELD_NUMBER: _ClassVar[int]
    PREDICTOR_VERSION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    method: str
    attributes: _containers.RepeatedScalarFieldContainer[str]
    weights: _containers.RepeatedScalarFieldContainer[float]
    temperature: float
    label_conditional: bool
    missing: str
    predictor: str
    predictor_version: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, method: _Optional[str] = ..., attributes: _Optional[_Iterable[str]] = ..., weights: _Optional[_Iterable[float]] = ..., temperature: _Optional[float] = ..., label_conditional: _Optional[bool] = ..., missing: _Optional[str] = ..., predictor: _Optional[str] = ..., predictor_version: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ...) -> None: ...

class TuningData(_message.Message):
    __slots__ = ("cohort", "world", "audit_cohort", "allow_synthetic")
    COHORT_FIELD_NUMBER: _ClassVar[int]
    WORLD_FIELD_NUMBER: _ClassVar[int]
    AUDIT_COHORT_FIELD_NUMBER: _ClassVar[int]
    ALLOW_SYNTHETIC_FIELD_NUMBER: _ClassVar[int]
    cohort: str
    world: str
    audit_cohort: str
    allow_synthetic: bool
    def __init__(self, cohort: _Optional[str] = ..., world: _Optional[str] = ..., audit_cohort: _Optional[str] = ..., allow_synthetic: _Optional[bool] = ...) -> None: ...

class TunedVersion(_message.Message):
    __slots__ = ("version", "digest", "weight", "chosen", "epochs_kept", "validation_scores", "scores")
    class ValidationScoresEntry(_message.Message):
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
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_KEPT_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_SCORES_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    version: str
    digest: str
    weight: float
    chosen: bool
    epochs_kept: int
    validation_scores: _containers.ScalarMap[str, float]
    scores: _containers.ScalarMap[str, float]
    def __init__(self, version: _Optional[str] = ..., digest: _Optional[str] = ..., weight: _Optional[float] = ..., chosen: _Optional[bool] = ..., epochs_kept: _Optional[int] = ..., validation_scores: _Optional[_Mapping[str, float]] = ..., scores: _Optional[_Mapping[str, float]] = ...) -> None: ...
