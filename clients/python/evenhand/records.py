"""Records of synthetic images: all that is needed to make one again, read from wherever it was kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from google.protobuf import json_format
from PIL import Image

from evenhand.errors import InvalidInput
from evenhand.generation.v1 import generation_pb2

RECORD_KEY = "evenhand:record"  # of a PNG's text
RecordLike: TypeAlias = Mapping[str, Any] | str | Path


def read_record(source: RecordLike) -> generation_pb2.ImageRecord:
    """The record in a mapping, in JSON text, in a JSON file, or inside a PNG file of the platform's.

    Raises:
        InvalidInput: the file cannot be read, or what is in it is no record of a generated image.
    """
    at = "record" if isinstance(source, Mapping) or _is_json(source) else str(source)
    plain = source if isinstance(source, Mapping) else _plain(source, at)
    record = generation_pb2.ImageRecord()
    try:
        json_format.ParseDict(dict(plain), record, ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise _no_record(f"this is no record of an image: {error}", at) from error
    if not record.spec.model:
        raise _no_record("this is no record of a generated image: it has no spec with a model", at)
    return record


def _is_json(source: Any) -> bool:
    return isinstance(source, str) and source.lstrip().startswith("{")


def _plain(source: str | Path, at: str) -> Mapping[str, Any]:
    try:
        text = str(source) if _is_json(source) else _text_of(Path(source))
        found = json.loads(text)
    except OSError as error:
        raise InvalidInput(f"cannot read the record: {error.strerror or error}", field=at) from error
    except ValueError as error:
        raise _no_record(f"this is no JSON: {error}", at) from error
    if not isinstance(found, dict):
        raise _no_record("a record is a JSON object", at)
    return found


def _text_of(path: Path) -> str:
    if path.suffix.lower() != ".png":
        return path.read_text("utf-8")
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.load()
            text: str | None = getattr(image, "text", {}).get(RECORD_KEY)
    except SyntaxError as error:  # Pillow's word for a file that breaks its format
        raise OSError(f"the PNG is broken: {error}") from error
    if text is None:
        raise _no_record("this PNG carries no record; the platform's own do", str(path))
    return text


def _no_record(message: str, at: str) -> InvalidInput:
    return InvalidInput(message, field=at, reason="RECORD_INVALID")
