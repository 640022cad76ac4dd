"""Everything about the training room that can be set. Field names are the ``args`` of a Serve config."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from services.hosting.settings import LeaseSettings, zoo


class Settings(LeaseSettings):
    """Settings of the training application."""

    registries: tuple[Path, ...] = Field(default_factory=zoo)
    """Other registries, whose versions a newly trained model must not repeat."""

    num_workers: int = Field(1, ge=1)
    """Workers of a run: the ``num_workers`` of Ray Train's ScalingConfig."""
    use_gpu: bool = False
    cpus_per_worker: float = Field(1.0, gt=0)
    threads: int = Field(1, ge=1)
    """torch threads of a worker. The weights depend on it in their last bits."""
    max_failures: int = Field(2, ge=0)
    """How often Ray Train restarts a run from its last checkpoint before the operation fails."""
    num_cpus: float = Field(0.1, ge=0)
    """What Ray's scheduler counts the answering replica as, not a limit."""

    watch_every_s: float = Field(0.25, gt=0, le=0.5)
    """How often a run is looked at, and whether it was cancelled; cancelling must work within a second."""
    poll_every_s: float = Field(default=0.5, gt=0)

    @property
    def models(self) -> Path:
        """The registry folder that trained packages are written to."""
        return self.data_dir / "models"

    @property
    def runs(self) -> Path:
        """Where unfinished runs keep their checkpoints."""
        return self.data_dir / "trainings"
