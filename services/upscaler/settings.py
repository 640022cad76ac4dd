"""Everything about the upscaler that can be set. Field names are the ``args`` of a Serve config."""

from __future__ import annotations

from pydantic import Field

from services.hosting.diffusion.settings import DiffusionSettings
from services.hosting.settings import LeaseSettings


class Settings(LeaseSettings, DiffusionSettings):
    """Settings of the upscaler application."""

    most_rows: int = Field(default=64, ge=1)
    """Images of one inference request."""
    most_side: int = Field(default=4096, ge=1)
    """Pixels along the longer side of an image that comes out."""

    watch_every_s: float = Field(default=0.1, gt=0, le=0.5)
    """How often it is looked whether an operation was cancelled; its image then leaves at the next network call."""
    progress_every_s: float = Field(default=0.5, ge=0)
    """How often progress is written at most."""
    patience_s: float = Field(default=180.0, gt=0)
    """How long a chunk waits for the store or the ledger to come back."""
    max_attempts: int = Field(default=20, ge=1)
    """After so many leases of one chunk the operation fails: something in it ends every worker that tries."""
