import datetime

from evenhand.audit.v1 import audit_pb2 as _audit_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
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
    TASK_TEXT_TO_IMAGE: _ClassVar[Task]
    TASK_MASK_TO_IMAGE: _ClassVar[Task]
    TASK_CLASS_TO_IMAGE: _ClassVar[Task]
    TASK_SUPER_RESOLUTION: _ClassVar[Task]
    TASK_IMAGE_EMBEDDING: _ClassVar[Task]
TASK_UNSPECIFIED: Task
TASK_RECONSTRUCTION: Task
TASK_CLASSIFICATION: Task
TASK_SEGMENTATION: Task
TASK_ATTRIBUTE_CLASSIFICATION: Task
TASK_TEXT_TO_IMAGE: Task
TASK_MASK_TO_IMAGE: Task
TASK_CLASS_TO_IMAGE: Task
TASK_SUPER_RESOLUTION: Task
TASK_IMAGE_EMBEDDING: Task

class Model(_message.Message):
    __slots__ = ("name", "version", "task", "family", "input", "output", "labels", "thresholds", "digest", "licence", "training_digest", "backend", "scores", "conditions", "factor", "mask_labels", "mask_phases", "prediction", "samplers", "guidable", "prompt_tokens", "base", "default_guidance_scale", "default_steps", "degradation", "lineage", "audits", "generator_card")
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
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    MASK_LABELS_FIELD_NUMBER: _ClassVar[int]
    MASK_PHASES_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    SAMPLERS_FIELD_NUMBER: _ClassVar[int]
    GUIDABLE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_STEPS_FIELD_NUMBER: _ClassVar[int]
    DEGRADATION_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    AUDITS_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_CARD_FIELD_NUMBER: _ClassVar[int]
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
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    factor: int
    mask_labels: _containers.RepeatedScalarFieldContainer[str]
    mask_phases: _containers.RepeatedScalarFieldContainer[str]
    prediction: str
    samplers: _containers.RepeatedScalarFieldContainer[str]
    guidable: bool
    prompt_tokens: int
    base: str
    default_guidance_scale: float
    default_steps: int
    degradation: _audit_pb2.Degradation
    lineage: Lineage
    audits: _containers.RepeatedCompositeFieldContainer[ModelAudit]
    generator_card: GeneratorCard
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., task: _Optional[_Union[Task, str]] = ..., family: _Optional[str] = ..., input: _Optional[_Union[PixelSpec, _Mapping]] = ..., output: _Optional[_Union[PixelSpec, _Mapping]] = ..., labels: _Optional[_Iterable[str]] = ..., thresholds: _Optional[_Mapping[str, float]] = ..., digest: _Optional[str] = ..., licence: _Optional[str] = ..., training_digest: _Optional[str] = ..., backend: _Optional[str] = ..., scores: _Optional[_Mapping[str, float]] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., factor: _Optional[int] = ..., mask_labels: _Optional[_Iterable[str]] = ..., mask_phases: _Optional[_Iterable[str]] = ..., prediction: _Optional[str] = ..., samplers: _Optional[_Iterable[str]] = ..., guidable: _Optional[bool] = ..., prompt_tokens: _Optional[int] = ..., base: _Optional[str] = ..., default_guidance_scale: _Optional[float] = ..., default_steps: _Optional[int] = ..., degradation: _Optional[_Union[_audit_pb2.Degradation, _Mapping]] = ..., lineage: _Optional[_Union[Lineage, _Mapping]] = ..., audits: _Optional[_Iterable[_Union[ModelAudit, _Mapping]]] = ..., generator_card: _Optional[_Union[GeneratorCard, _Mapping]] = ...) -> None: ...

class Lineage(_message.Message):
    __slots__ = ("base", "base_digest", "method", "attributes", "weight", "predictor", "cohort", "world", "data_digest", "learned_patients", "chosen")
    BASE_FIELD_NUMBER: _ClassVar[int]
    BASE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    PREDICTOR_FIELD_NUMBER: _ClassVar[int]
    COHORT_FIELD_NUMBER: _ClassVar[int]
    WORLD_FIELD_NUMBER: _ClassVar[int]
    DATA_DIGEST_FIELD_NUMBER: _ClassVar[int]
    LEARNED_PATIENTS_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_FIELD_NUMBER: _ClassVar[int]
    base: str
    base_digest: str
    method: str
    attributes: _containers.RepeatedScalarFieldContainer[str]
    weight: float
    predictor: str
    cohort: str
    world: str
    data_digest: str
    learned_patients: int
    chosen: bool
    def __init__(self, base: _Optional[str] = ..., base_digest: _Optional[str] = ..., method: _Optional[str] = ..., attributes: _Optional[_Iterable[str]] = ..., weight: _Optional[float] = ..., predictor: _Optional[str] = ..., cohort: _Optional[str] = ..., world: _Optional[str] = ..., data_digest: _Optional[str] = ..., learned_patients: _Optional[int] = ..., chosen: _Optional[bool] = ...) -> None: ...

class ModelAudit(_message.Message):
    __slots__ = ("audit", "display_name", "cohort", "patients", "create_time", "report", "pipelines", "changes")
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    COHORT_FIELD_NUMBER: _ClassVar[int]
    PATIENTS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    PIPELINES_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    audit: str
    display_name: str
    cohort: str
    patients: int
    create_time: _timestamp_pb2.Timestamp
    report: str
    pipelines: _containers.RepeatedScalarFieldContainer[str]
    changes: _containers.RepeatedCompositeFieldContainer[AuditedChange]
    def __init__(self, audit: _Optional[str] = ..., display_name: _Optional[str] = ..., cohort: _Optional[str] = ..., patients: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., report: _Optional[str] = ..., pipelines: _Optional[_Iterable[str]] = ..., changes: _Optional[_Iterable[_Union[AuditedChange, _Mapping]]] = ...) -> None: ...

class AuditedChange(_message.Message):
    __slots__ = ("baseline", "candidate", "metric", "attribute", "labels", "before", "after", "change", "ci_low", "ci_high", "found")
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    CI_LOW_FIELD_NUMBER: _ClassVar[int]
    CI_HIGH_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    baseline: str
    candidate: str
    metric: str
    attribute: str
    labels: int
    before: float
    after: float
    change: float
    ci_low: float
    ci_high: float
    found: int
    def __init__(self, baseline: _Optional[str] = ..., candidate: _Optional[str] = ..., metric: _Optional[str] = ..., attribute: _Optional[str] = ..., labels: _Optional[int] = ..., before: _Optional[float] = ..., after: _Optional[float] = ..., change: _Optional[float] = ..., ci_low: _Optional[float] = ..., ci_high: _Optional[float] = ..., found: _Optional[int] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("name", "levels", "low", "high", "optional")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    OPTIONAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    levels: _containers.RepeatedScalarFieldContainer[str]
    low: float
    high: float
    optional: bool
    def __init__(self, name: _Optional[str] = ..., levels: _Optional[_Iterable[str]] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., optional: _Optional[bool] = ...) -> None: ...

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

class GeneratorCard(_message.Message):
    __slots__ = ("verdicts", "intended_use", "notice")
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    INTENDED_USE_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    verdicts: _containers.RepeatedCompositeFieldContainer[BiasVerdict]
    intended_use: str
    notice: str
    def __init__(self, verdicts: _Optional[_Iterable[_Union[BiasVerdict, _Mapping]]] = ..., intended_use: _Optional[str] = ..., notice: _Optional[str] = ...) -> None: ...

class BiasVerdict(_message.Message):
    __slots__ = ("attribute", "classifier", "guided", "target", "before", "after", "bias_before", "bias_after", "kid", "prompts", "images")
    class TargetEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class BeforeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class AfterEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class KidEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_FIELD_NUMBER: _ClassVar[int]
    GUIDED_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    BIAS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    BIAS_AFTER_FIELD_NUMBER: _ClassVar[int]
    KID_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    attribute: str
    classifier: str
    guided: bool
    target: _containers.ScalarMap[str, float]
    before: _containers.ScalarMap[str, float]
    after: _containers.ScalarMap[str, float]
    bias_before: Bias
    bias_after: Bias
    kid: _containers.ScalarMap[str, float]
    prompts: int
    images: int
    def __init__(self, attribute: _Optional[str] = ..., classifier: _Optional[str] = ..., guided: _Optional[bool] = ..., target: _Optional[_Mapping[str, float]] = ..., before: _Optional[_Mapping[str, float]] = ..., after: _Optional[_Mapping[str, float]] = ..., bias_before: _Optional[_Union[Bias, _Mapping]] = ..., bias_after: _Optional[_Union[Bias, _Mapping]] = ..., kid: _Optional[_Mapping[str, float]] = ..., prompts: _Optional[int] = ..., images: _Optional[int] = ...) -> None: ...

class Bias(_message.Message):
    __slots__ = ("estimate", "noise_floor", "ci_low", "ci_high")
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    NOISE_FLOOR_FIELD_NUMBER: _ClassVar[int]
    CI_LOW_FIELD_NUMBER: _ClassVar[int]
    CI_HIGH_FIELD_NUMBER: _ClassVar[int]
    estimate: float
    noise_floor: float
    ci_low: float
    ci_high: float
    def __init__(self, estimate: _Optional[float] = ..., noise_floor: _Optional[float] = ..., ci_low: _Optional[float] = ..., ci_high: _Optional[float] = ...) -> None: ...
