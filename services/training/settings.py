"""Everything about the training room that can be set. Field names are the ``args`` of a Serve config."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


def _data_dir() -> Path:
    return Path(os.environ.get("EVENHAND_DATA_DIR", ".evenhand")).absolute()


def _registries() -> tuple[Path, ...]:
    roots = os.environ.get("EVENHAND_ZOO", "deploy/zoo").split(os.pathsep)
    return tuple(Path(root).absolute() for root in roots if root)


class Settings(BaseModel):
    """Settings of the training application. What is not given comes from the environment, then from these defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path = Field(default_factory=_data_dir)
    """Shared by all nodes: trained models and the checkpoints of unfinished runs lie here."""
    ledger_url: str = Field(default_factory=lambda: os.environ.get("EVENHAND_LEDGER_URL", ""))
    """Empty means SQLite in ``data_dir``."""
    registries: tuple[Path, ...] = Field(default_factory=_registries)
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

    lease_ttl_s: float = Field(10.0, gt=0)
    renew_every_s: float = Field(2.0, gt=0)
    watch_every_s: float = Field(0.25, gt=0, le=0.5)
    """How often a run is looked at, and whether it was cancelled; cancelling must work within a second."""
    poll_every_s: float = Field(0.5, gt=0)
    """How often an idle worker asks the ledger for work."""

    @property
    def ledger(self) -> str:
        """The ledger's address, filled in."""
        return self.ledger_url or f"sqlite:///{self.data_dir / 'ledger.db'}"

    @property
    def models(self) -> Path:
        """The registry folder that trained packages are written to."""
        return self.data_dir / "models"

    @property
    def runs(self) -> Path:
        """Where unfinished runs keep their checkpoints."""
        return self.data_dir / "trainings"
