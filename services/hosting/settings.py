"""Where the platform's state lies and what every model host can be told; services subclass these.

Field names are the ``args`` of a Serve config. What is not given there comes from the environment, then from defaults.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


def data_dir() -> Path:
    """EVENHAND_DATA_DIR."""
    return Path(os.environ.get("EVENHAND_DATA_DIR") or ".evenhand").absolute()


def zoo() -> tuple[Path, ...]:
    """EVENHAND_ZOO: one or more registry folders, separated as in PATH."""
    roots = (os.environ.get("EVENHAND_ZOO") or "deploy/zoo").split(os.pathsep)
    return tuple(Path(root).absolute() for root in roots if root)


class StateSettings(BaseModel):
    """Settings of a service that keeps state."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    data_dir: Path = Field(default_factory=data_dir)
    """Shared by all nodes: uploads, trained models, the checkpoints of unfinished runs."""
    ledger_url: str = Field(default_factory=lambda: os.environ.get("EVENHAND_LEDGER_URL", ""))
    """Empty means SQLite in ``data_dir``."""
    store_url: str = Field(default_factory=lambda: os.environ.get("EVENHAND_STORE_URL", ""))
    """Empty means a directory in ``data_dir``."""

    @property
    def ledger(self) -> str:
        """The ledger's address, filled in."""
        return self.ledger_url or f"sqlite:///{self.data_dir / 'ledger.db'}"

    @property
    def store(self) -> str:
        """The object store's address, filled in."""
        return self.store_url or f"file://{self.data_dir / 'objects'}"

    @property
    def uploads(self) -> Path:
        """Where files wait for the ingest of their cohort."""
        return self.data_dir / "uploads"


class LeaseSettings(StateSettings):
    """Settings of a service that works through chunks of the ledger."""

    lease_ttl_s: float = Field(default=10.0, gt=0)
    renew_every_s: float = Field(default=2.0, gt=0)
    watch_every_s: float = Field(default=0.25, gt=0, le=0.5)
    """How often a worker looks whether its operation was cancelled; cancelling must work within a second."""
    poll_every_s: float = Field(default=0.2, gt=0)
    """How often an idle worker asks the ledger for work."""


class HostSettings(BaseModel):
    """Settings of a model host."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    registries: tuple[Path, ...] = Field(default_factory=lambda: (*zoo(), data_dir() / "models"))
    num_replicas: int = Field(default=1, ge=1)
    num_cpus: float = Field(default=0.1, ge=0, description="what Ray's scheduler counts a replica as, not a limit")
    num_gpus: float = Field(default=0.0, ge=0)
    threads: int = Field(default=1, ge=1, description="torch threads of a replica")
    max_ongoing_requests: int = Field(default=64, ge=1)
    max_queued_requests: int = Field(default=256, ge=-1)

    def deployment_options(self) -> dict[str, object]:
        """The part of the settings that Ray Serve itself acts on."""
        return {
            "num_replicas": self.num_replicas,
            "max_ongoing_requests": self.max_ongoing_requests,
            "max_queued_requests": self.max_queued_requests,
            "ray_actor_options": {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus},
            "health_check_period_s": 5.0,
            "graceful_shutdown_wait_loop_s": 0.1,
            "graceful_shutdown_timeout_s": 10.0,
        }
