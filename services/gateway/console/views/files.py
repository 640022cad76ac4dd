"""Artifacts as rows of a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from services.gateway.console.words import size

MOST_LISTED = 200


def listed_files(owner: str, artifacts: Iterable[Any]) -> list[dict[str, Any]]:
    """File name, link, length, media type and digest, in the order of the API."""
    return [
        {
            "filename": artifact.filename,
            "href": f"/{owner}/files/{artifact.filename}",
            "size": size(artifact.bytes),
            "media_type": artifact.media_type,
            "sha256": artifact.sha256,
        }
        for artifact in list(artifacts)[:MOST_LISTED]
    ]
