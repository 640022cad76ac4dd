"""Everything about the monitoring room that can be set. Field names are the ``args`` of a Serve config."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from services.hosting.settings import LeaseSettings


def _import_roots() -> tuple[Path, ...]:
    roots = os.environ.get("EVENHAND_IMPORT_ROOTS", "").split(os.pathsep)
    return tuple(Path(root).absolute() for root in roots if root)


class Settings(LeaseSettings):
    """Settings of the monitoring application."""

    import_roots: tuple[Path, ...] = Field(default_factory=_import_roots)
    """Server folders that a monitor may watch; none means that rows are posted, or lie in the object store."""

    workers: int = Field(default=1, ge=1, le=16)
    num_cpus: float = Field(default=0.1, ge=0)
    """What Ray's scheduler counts each replica as, not a limit."""

    look_every_s: float = Field(default=2.0, gt=0)
    """How often a worker looks whether a window of any monitor may be closed."""
    folders_every_s: float = Field(default=5.0, gt=0)
    """How often it looks into the folders that monitors watch."""
    settle_s: float = Field(default=10.0, ge=0)
    """A table that changed within this time may still be written: an unfinished end of it is no fault yet."""
    quiet_s: float = Field(default=20.0, ge=0)
    """A window of the past, whose records come only now, waits until nothing of it came for so long."""
    rows_per_batch: int = Field(default=50_000, ge=1)
    """Rows of a table that are recorded together."""
    retry_after_s: float = Field(default=60.0, ge=0)
    """How long after a failed closing of a window it is tried again."""

    poll_every_s: float = Field(default=0.5, gt=0)
    patience_s: float = Field(default=180.0, gt=0)
    """How long a closing waits for the store or the ledger to come back before it is given up for a while."""
    max_attempts: int = Field(default=20, ge=1)
    """After so many leases of one closing its operation fails: something in it ends every worker that tries."""
