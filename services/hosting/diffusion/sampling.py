"""What every sampling request says alike: sampler, steps, seed and guidance, checked against a model and its host."""

from __future__ import annotations

from functools import lru_cache

from services.adapters.weights import Diffusion, ModelRecord
from services.errors import FailedPrecondition, InvalidInput, OutOfRange
from services.maths.diffusion.guidance import Guidance
from services.maths.diffusion.noise import LARGEST_SEED
from services.maths.diffusion.plans import SAMPLERS, Plan, make_plan
from services.maths.diffusion.schedules import NoiseSchedule, Spacing, sampling_levels

DEFAULT_SAMPLER = "dpmpp-2m"
LARGEST_SCALE = 100.0


def diffusion_of(record: ModelRecord) -> Diffusion:
    """The record's diffusion settings, which ModelRecord makes sure that a sampled model has."""
    assert record.diffusion is not None
    return record.diffusion


def checked_sampler(name: str, *, field: str = "sampler") -> str:
    """The sampler, or the default where none is named."""
    if name and name not in SAMPLERS:
        raise InvalidInput(
            f"{field} must be one of {', '.join(SAMPLERS)}, got {name[:40]!r}", field=field, reason="SAMPLER_UNKNOWN"
        )
    return name or DEFAULT_SAMPLER


def checked_steps(diffusion: Diffusion, steps: int, most: int, *, field: str = "steps") -> int:
    """The number of steps, or the model's own where 0 is given."""
    most = min(most, diffusion.steps)
    if not 0 <= steps <= most:
        raise OutOfRange(f"{field} must lie in 1..{most}, or be 0 for the default, got {steps}", field=field)
    return steps or min(diffusion.default_steps, most)


def checked_seed(seed: int, *, field: str = "seed") -> int:
    if not 0 <= seed <= LARGEST_SEED:
        raise OutOfRange(f"{field} must lie in 0..2^63 - 1, got {seed}", field=field)
    return seed


def checked_guidance(
    record: ModelRecord, scale: float, low: float, high: float, rescale: float, *, field: str = "guidance"
) -> Guidance:
    """Guidance with the model's own scale where 0 is given. GUIDANCE_UNSUPPORTED for a model that has no null."""
    stated = diffusion_of(record)
    if not 0 <= scale <= LARGEST_SCALE:
        raise OutOfRange(f"{field}.scale must lie in 0..{LARGEST_SCALE:g}, got {scale:g}", field=f"{field}.scale")
    if not 0 <= low <= (high or 1.0) <= 1:
        raise OutOfRange(
            f"{field}.low and {field}.high must be 0 <= low <= high <= 1, got {low:g} and {high:g}",
            field=f"{field}.low",
        )
    if not 0 <= rescale <= 1:
        raise OutOfRange(f"{field}.rescale must lie in 0..1, got {rescale:g}", field=f"{field}.rescale")
    if not stated.null_condition and scale not in (0.0, 1.0):
        raise InvalidInput(
            f"{record.name} never learned what an image without conditions is, so it cannot be guided",
            field=f"{field}.scale",
            reason="GUIDANCE_UNSUPPORTED",
        )
    chosen = scale or (stated.guidance_scale if stated.null_condition else 1.0)
    return Guidance(chosen or 1.0, (low, high or 1.0), rescale)


def checked_digest(record_digest: str, asked: str, *, field: str = "model_digest") -> None:
    """FailedPrecondition MODEL_DIGEST_MISMATCH where another package was meant than the one that is served."""
    if asked and asked != record_digest:
        raise FailedPrecondition(
            f"{field} asks for {asked[:64]}, but {record_digest} is served", field=field, reason="MODEL_DIGEST_MISMATCH"
        )


def plan_of(schedule: NoiseSchedule, sampler: str, steps: int, spacing: Spacing) -> Plan:
    """The one plan of these settings: rows that share a plan move on together."""
    return _plan(_Known(schedule), sampler, steps, spacing)


class _Known:
    """A schedule as a key: equal where all of its numbers are."""

    def __init__(self, schedule: NoiseSchedule) -> None:
        self.schedule = schedule
        self._numbers = schedule.alphas_bar.tobytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and self._numbers == other._numbers

    def __hash__(self) -> int:
        return hash(self._numbers)


@lru_cache(maxsize=64)
def _plan(known: _Known, sampler: str, steps: int, spacing: Spacing) -> Plan:
    return make_plan(sampler, sampling_levels(known.schedule, steps, spacing=spacing))
