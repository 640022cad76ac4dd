"""DICOM identifiers that follow from the record alone: the same record, the same identifier, on every machine.

A UID is "2.25." and a UUID in decimal (PS3.5 B.2, ITU-T X.667), and the UUID is named by content (RFC 9562, version 5).
"""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.UUID("6f1f3f0e-5d0b-5c39-9a55-0d7f0a4f6f0b")


def uid(kind: str, *names: str) -> str:
    """The UID of a ``kind`` ("study", "instance", …) of thing that ``names`` identify; at most 44 characters."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(0).join((kind, *names))).int}"
