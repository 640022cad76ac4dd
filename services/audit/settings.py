"""Everything about the audit room that can be set, with its default. Field names are the ``args`` of a Serve config."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from services.hosting.settings import LeaseSettings, zoo


def _import_roots() -> tuple[Path, ...]:
    roots = os.environ.get("EVENHAND_IMPORT_ROOTS", "").split(os.pathsep)
    return tuple(Path(root).absolute() for root in roots if root)


def _lpips_weights() -> Path | None:
    folder = os.environ.get("EVENHAND_LPIPS_WEIGHTS")
    return Path(folder).absolute() if folder else None


class Settings(LeaseSettings):
    """Settings of the audit application."""

    import_roots: tuple[Path, ...] = Field(default_factory=_import_roots)
    """Server folders that CreateCohort may read from; none means uploads only."""

    lpips_weights: Path | None = Field(default_factory=_lpips_weights)
    """Folder with the weights of the LPIPS networks; without it an audit that asks for LPIPS is refused."""

    registries: tuple[Path, ...] = Field(default_factory=zoo)
    """Registry folders with the encoders that perceptual distances are taken in, besides that of trained models."""

    workers: int = Field(default=1, ge=1, le=64)
    num_cpus: float = Field(default=0.1, ge=0)
    """What Ray's scheduler counts each replica as, not a limit."""
    batch_size: int = Field(default=32, ge=1, le=256)
    """Rows of every model call of an audit. Part of the audit's digest: a row's bits depend on it."""
    in_flight: int = Field(default=4, ge=2, le=64)
    """Batches that a worker keeps under way at once."""
    rows_per_shard: int = Field(default=256, ge=1)
    images_per_chunk: int = Field(default=64, ge=1)
    """Images of a synthetic cohort that are sampled and committed together, as one shard. Part of its digest."""
    progress_every_s: float = Field(default=0.5, ge=0)
    """How often the progress of a synthetic cohort is written at most."""

    patience_s: float = Field(default=180.0, gt=0)
    """How long a chunk waits for a model, the store or the ledger to come back before it is given up for a while."""
    max_attempts: int = Field(default=20, ge=1)
    """After so many leases of one chunk the operation fails: something in it ends every worker that tries."""

    @property
    def models(self) -> tuple[Path, ...]:
        """Every registry folder, that of trained models last."""
        return (*self.registries, self.data_dir / "models")
