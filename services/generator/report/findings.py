"""What one counterfactual found, all that its page is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.adapters.encoder.record import Record
from services.errors import InvalidInput
from services.generator.report.effects import Unguided
from services.generator.report.spelling import within
from services.generator.report.trace import Trace


@dataclass(frozen=True)
class Findings:
    """A counterfactual's inputs, measurements and pictures. Raises InvalidInput where the ends do not match."""

    record: Record
    source: Mapping[str, str]
    """Attributes that change, at the first frame."""
    target: Mapping[str, str]
    """The same attributes at the last frame."""
    trace: Trace
    filmstrip: bytes
    """PNG."""
    difference: bytes
    """PNG."""
    held: Mapping[str, str] = field(default_factory=dict)
    """Attributes that all frames share."""
    free: Sequence[str] = ()
    """Attributes that the model knows and nobody set."""
    spreads: Mapping[str, float] = field(default_factory=dict)
    """Standard deviation of each feature in a cohort."""
    spread_source: str = ""
    """Which cohort that is, in words."""
    unguided: Unguided | None = None
    """The ends at guidance scale 1, where they were computed."""
    video: bytes | None = None
    """MP4 to embed; without it the page links ``video_name`` beside it."""
    video_name: str = "video.mp4"
    back_video_name: str = ""
    """The video of the way back, where there is one."""
    display_name: str = ""
    warnings: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    """Names of the files beside the page, and what they hold."""

    def __post_init__(self) -> None:
        if not self.source or self.source.keys() != self.target.keys():
            raise InvalidInput("source and target name the same attributes, at least one", field="target")

    @property
    def spec(self) -> Mapping[str, Any]:
        """The request, as the record has it."""
        spec = self.record.get("spec", {})
        return spec if isinstance(spec, Mapping) else {}

    @property
    def scale(self) -> float:
        """The guidance scale; 1 is none."""
        guidance = self.spec.get("guidance") or {}
        return float(guidance.get("scale") or 1.0)

    @property
    def ends(self) -> tuple[str, str]:
        """The levels at both ends, "White" and "Black"; several attributes by comma."""
        return ", ".join(self.source.values()), ", ".join(self.target[name] for name in self.source)

    @property
    def change(self) -> str:
        """ "race White → Black"."""
        parts = (f"{within(name)} {level} → {self.target[name]}" for name, level in self.source.items())
        return ", ".join(parts)
