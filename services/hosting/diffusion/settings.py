"""What a host of diffusion models can be told, and what that means on the device at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field

from services.hosting.settings import HostSettings

ROWS_ON_CPU, ROWS_ON_CUDA = 4, 16


class DiffusionSettings(HostSettings):
    """Settings of a host whose models are sampled in steps."""

    max_ongoing_requests: int = Field(default=256, ge=1)
    batch: int = Field(default=0, ge=0, le=256)
    """Rows of every network call, filled up; an image's bits depend on it. 0: 4 on a CPU, 16 on an accelerator."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Networks compute in it; samplers always compute in float32. auto: bfloat16 on an accelerator."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; auto: on an accelerator, where the first call then takes a minute."""
    most_waiting: int = Field(default=256, ge=1)
    """Images that may be in work or wait, of callers who wait; more are refused."""
    most_steps: int = Field(default=1000, ge=1)


@dataclass(frozen=True)
class Placement:
    """Where and how networks compute."""

    device: torch.device
    dtype: torch.dtype
    compiled: bool
    batch: int
    threads: int

    @property
    def device_class(self) -> str:
        """Bits are the same on machines of one class: "cpu AVX512", or an accelerator's name with the type."""
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        else:
            name = f"cpu {torch.backends.cpu.get_cpu_capability()}"
        return name if self.dtype == torch.float32 else f"{name} {str(self.dtype).removeprefix('torch.')}"


def place(settings: DiffusionSettings) -> Placement:
    """The settings with every ``auto`` decided for this process's device."""
    chosen = settings.device
    if chosen == "auto":
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
    accelerated = chosen == "cuda"
    dtype = settings.dtype if settings.dtype != "auto" else "bfloat16" if accelerated else "float32"
    compiled = accelerated if settings.compile == "auto" else settings.compile == "on"
    batch = settings.batch or (ROWS_ON_CUDA if accelerated else ROWS_ON_CPU)
    return Placement(torch.device(chosen), getattr(torch, dtype), compiled, batch, settings.threads)
