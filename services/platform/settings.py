"""Where the platform keeps its state and which ports it opens. The only place that reads these from the environment."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Settings of the local platform. Each field has an EVENHAND_ variable of the same name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    data_dir: Path
    host: str = "127.0.0.1"
    http_port: int = Field(default=8080, ge=1, le=65535)
    grpc_port: int = Field(default=8081, ge=1, le=65535)
    config: Path

    @property
    def state_file(self) -> Path:
        return self.data_dir / "platform.json"

    @property
    def log_file(self) -> Path:
        return self.data_dir / "platform.log"

    @property
    def metrics_dir(self) -> Path:
        return self.data_dir / "metrics"

    @property
    def near_dir(self) -> Path:
        """Of the sockets between processes; not below ``ray_dir``, which Ray opens to everybody."""
        return self.ray_dir.with_name(f"{self.ray_dir.name}-near")

    @property
    def ray_dir(self) -> Path:
        """Short, because the paths of Ray's sockets must stay under 108 bytes; one per data directory."""
        label = hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:8]
        return Path(tempfile.gettempdir()) / f"evenhand-{os.getuid()}-{label}"


def read_settings(config: Path | None = None) -> Settings:
    """Settings from EVENHAND_* variables; what is not set has its default."""
    given = {
        field: os.environ[f"EVENHAND_{field.upper()}"]
        for field in ("host", "http_port", "grpc_port")
        if os.environ.get(f"EVENHAND_{field.upper()}")
    }
    data_dir = Path(os.environ.get("EVENHAND_DATA_DIR", ".evenhand")).absolute()
    path = config or Path(os.environ.get("EVENHAND_SERVE_CONFIG", "deploy/serve/local.yaml"))
    return Settings.model_validate({**given, "data_dir": data_dir, "config": path.absolute()})


def ray_environment(settings: Settings) -> dict[str, str]:
    """Environment that Ray and every replica inherit.

    The RAY_SERVE_* knobs put a replica's router and user code on one loop and its calls on gRPC, which was measured
    five times faster for image-sized payloads; the MALLOC_* ones keep glibc from mapping and unmapping each image. Ray
    would give its workers niceness 15, and whatever else the machine does would come before a caller's request.
    """
    token = settings.data_dir / "ray-token"
    if not token.exists():
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32), "ascii")
    zoo = os.environ.get("EVENHAND_ZOO") or str(Path(__file__).resolve().parents[2] / "deploy" / "zoo")
    return {
        "EVENHAND_DATA_DIR": str(settings.data_dir),
        "EVENHAND_NEAR_DIR": str(settings.near_dir),
        "EVENHAND_HOST": settings.host,
        "EVENHAND_HTTP_PORT": str(settings.http_port),
        "EVENHAND_GRPC_PORT": str(settings.grpc_port),
        "EVENHAND_ZOO": zoo,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
        "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(2**30),
        "RAY_TRAIN_V2_ENABLED": "1",
        "RAY_worker_niceness": "0",
        "MALLOC_MMAP_THRESHOLD_": str(2**30),
        "MALLOC_TRIM_THRESHOLD_": str(2**30),
        "HF_HUB_OFFLINE": "1",
    }
