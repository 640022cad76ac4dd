"""From a URL to a store."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from services.errors import InvalidInput

from .content import ObjectStore
from .directory import DirectoryStore
from .memory import MemoryStore
from .s3 import S3Store


def open_object_store(url: str) -> ObjectStore:
    """``memory:``, ``file:///directory`` or ``s3://host:port/bucket?secure=0&region=us-east-1``.

    The S3 keys come from ``EVENHAND_S3_ACCESS_KEY`` and ``EVENHAND_S3_SECRET_KEY``, or from the files that the same
    names with ``_FILE`` point to, never from the URL. Opening does not touch the network; :meth:`check` does.
    """
    parts = urlsplit(url)
    match parts.scheme:
        case "memory":
            return MemoryStore()
        case "file" if parts.netloc in ("", "localhost") and parts.path:
            return DirectoryStore(Path(unquote(parts.path)))
        case "s3" if parts.hostname and "@" not in parts.netloc and parts.path.strip("/"):
            query = parse_qs(parts.query)
            return S3Store(
                parts.netloc,
                parts.path.strip("/"),
                access_key=_secret("EVENHAND_S3_ACCESS_KEY"),
                secret_key=_secret("EVENHAND_S3_SECRET_KEY"),
                secure=query.get("secure", ["1"])[-1] != "0",
                region=query.get("region", ["us-east-1"])[-1],
            )
    raise InvalidInput(
        "the object store's URL is memory:, file:///directory or s3://host:port/bucket?secure=0, without keys in it",
        field="EVENHAND_STORE_URL",
        reason="STORE_URL_INVALID",
    )


def _secret(name: str) -> str:
    """A secret from the environment, or from the file that ``<name>_FILE`` names (how containers mount secrets)."""
    file = os.environ.get(f"{name}_FILE", "")
    try:
        value = os.environ.get(name, "") or (Path(file).read_text().strip() if file else "")
    except OSError as error:
        raise InvalidInput(f"{name}_FILE names a file that cannot be read", field=f"{name}_FILE") from error
    if not value:
        raise InvalidInput(f"an S3 store needs {name} or {name}_FILE in the environment", field=name)
    return value
