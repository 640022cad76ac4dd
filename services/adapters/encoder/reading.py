"""A record out of the text that a file carries."""

from __future__ import annotations

import json

from services.errors import Undecodable


def record_of(text: object) -> dict[str, object]:
    """The record that ``text`` is the JSON of. Raises Undecodable for anything but a JSON object."""
    if not isinstance(text, str) or not text:
        raise Undecodable("holds no record of how it was made", field="file", reason="RECORD_MISSING")
    try:
        record = json.loads(text)
    except ValueError as error:
        raise Undecodable("its record is not JSON", field="file", reason="RECORD_INVALID") from error
    if not isinstance(record, dict):
        raise Undecodable("its record is not a JSON object", field="file", reason="RECORD_INVALID")
    return record
