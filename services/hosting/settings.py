"""What every model host can be told; services subclass it once. Field names are the ``args`` of a Serve config."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


def _registries() -> tuple[Path, ...]:
    """EVENHAND_ZOO: one or more folders, separated as in PATH; first the platform's own trained models."""
    zoo = os.environ.get("EVENHAND_ZOO", "deploy/zoo").split(os.pathsep)
    trained = Path(os.environ.get("EVENHAND_DATA_DIR", ".evenhand")) / "models"
    return (*(Path(root).absolute() for root in zoo if root), trained.absolute())


class HostSettings(BaseModel):
    """Settings of a model host."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    registries: tuple[Path, ...] = Field(default_factory=_registries)
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
