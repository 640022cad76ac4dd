"""Settings of the gateway. Nothing else in this room reads the environment."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from services.errors import FailedPrecondition
from services.hosting.settings import StateSettings


class Settings(StateSettings):
    """Settings of the gateway; the fields' names are the ``args`` of a Serve config."""

    host: str = Field(default_factory=lambda: os.environ.get("EVENHAND_HOST", "127.0.0.1"))
    http_port: int = Field(default_factory=lambda: int(os.environ.get("EVENHAND_HTTP_PORT", "8080")), ge=0, le=65535)
    grpc_port: int = Field(default_factory=lambda: int(os.environ.get("EVENHAND_GRPC_PORT", "8081")), ge=0, le=65535)
    tls_certificate: Path | None = Field(default=None, description="PEM chain; without it the ports speak plain text")
    tls_private_key: Path | None = None

    num_replicas: int = Field(default=1, ge=1, description="replicas on one machine share the ports")
    num_cpus: float = Field(default=0.1, ge=0, description="what Ray's scheduler counts a replica as, not a limit")

    running_per_queue: int = Field(default=16, ge=1, description="requests of one model or application at a time")
    waiting_per_queue: int = Field(default=64, ge=0, description="requests that may wait behind them")
    requests_per_caller: int = Field(default=64, ge=1, description="running and waiting requests of one caller")

    max_message_bytes: int = Field(default=64 * 2**20, ge=2**16, description="one request, on either transport")
    max_json_bytes: int = Field(default=16 * 2**20, ge=2**16, description="the JSON in a request, which costs more")
    max_elements: int = Field(default=16 * 2**20, ge=1, description="values of all tensors of one inference")
    max_file_bytes: int = Field(default=2 * 2**30, ge=1, description="one uploaded file")
    max_upload_bytes: int = Field(default=64 * 2**30, ge=1, description="all files of one upload")
    max_upload_files: int = Field(default=1_000_000, ge=1)
    upload_lifetime_s: float = Field(default=86_400.0, gt=0)

    call_timeout_s: float = Field(default=60.0, gt=0, description="for calls that bring no deadline of their own")
    wait_timeout_s: float = Field(default=600.0, gt=0, description="longest WaitOperation")
    receive_timeout_s: float = Field(default=15.0, gt=0, description="longest silence of a client while it sends")
    drain_s: float = Field(default=10.0, ge=0, description="how long running requests may go on at shutdown")
    catalogue_age_s: float = Field(default=5.0, gt=0, description="how old the known list of models may get")


def read_api_keys() -> tuple[str, ...]:
    """Bearer keys: EVENHAND_API_KEYS (or EVENHAND_API_KEY), comma-separated, or a file of one key a line.

    Read inside the replica, so that no key enters a Serve config. No key means that anyone may call.
    """
    given = os.environ.get("EVENHAND_API_KEYS") or os.environ.get("EVENHAND_API_KEY") or ""
    path = os.environ.get("EVENHAND_API_KEYS_FILE")
    if path:
        try:
            given += "," + ",".join(Path(path).read_text("utf-8").split())
        except OSError as error:
            raise FailedPrecondition(
                "the file named by EVENHAND_API_KEYS_FILE cannot be read", field="EVENHAND_API_KEYS_FILE"
            ) from error
    return tuple(key.strip() for key in given.split(",") if key.strip())
