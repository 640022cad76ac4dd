"""Everything about the generator that can be set. Field names are the ``args`` of a Serve config."""

from __future__ import annotations

from pydantic import Field

from services.hosting.diffusion.settings import DiffusionSettings
from services.hosting.settings import LeaseSettings


class Settings(LeaseSettings, DiffusionSettings):
    """Settings of the generator application."""

    most_images: int = Field(default=256, ge=1)
    """Images of one request."""
    default_frames: int = Field(default=180, ge=2)
    most_frames: int = Field(default=1000, ge=2)
    images_per_chunk: int = Field(default=8, ge=1)
    """Images that a crash of a replica may cost; they are committed together."""
    frames_per_chunk: int = Field(default=12, ge=1)
    """Frames of a counterfactual that are sampled, upscaled, measured and committed together."""
    frames_per_s: int = Field(default=30, ge=1, le=120)
    """Of the videos."""
    largest_embedded_video: int = Field(default=8 * 2**20, ge=0)
    """Bytes up to which a counterfactual's page carries its video; a larger one lies beside it."""

    watch_every_s: float = Field(default=0.1, gt=0, le=0.5)
    """How often it is looked whether an operation was cancelled; its images then leave at the next step."""
    progress_every_s: float = Field(default=0.5, ge=0)
    """How often progress is written at most."""
    patience_s: float = Field(default=180.0, gt=0)
    """How long a chunk waits for another application, the store or the ledger to come back."""
    max_attempts: int = Field(default=20, ge=1)
    """After so many leases of one chunk the operation fails: something in it ends every worker that tries."""
