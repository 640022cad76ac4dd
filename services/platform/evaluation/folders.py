"""A folder of images with a table: real ones as reference, or synthetic ones made elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from services.adapters.decoder import Decoder, InFolder, Refused, Source
from services.errors import InvalidInput, NotFound, ServiceError
from services.maths.pixels import ImageShapeError, PixelSpec, to_model
from services.platform.evaluation.conditions import is_missing, level_of, spelled
from services.platform.evaluation.generators import Generator
from services.platform.evaluation.samples import Sample

IMAGE, PATIENT, PROMPT = "image", "patient_id", "prompt"
_NO_LEVELS = (IMAGE, PATIENT, PROMPT, "record_id", "split", "mask")
_MOST_LEVELS = 12


def read_folder(
    folder: Path,
    table: Path,
    generator: Generator,
    *,
    organ: str = "",
    on_image: Callable[[], None] = lambda: None,
) -> Sample:
    """Images of ``folder`` by the rows of ``table`` (CSV): ``image`` names the file, ``patient_id`` whose it is.

    The other columns are attributes: conditions of the model by their names, or columns of at most 12 different words.
    ``prompt`` is what a text-to-image model is asked for. Files are decoded in the sandbox and brought to the model's
    extents. Without ``patient_id`` every row is a patient.

    Raises NotFound without the table, InvalidInput for a table or a file that is not what it should be.
    """
    rows = read_table(table)
    pixels = decoded(folder, [str(name) for name in rows[IMAGE]], generator.pixels, on_image)
    patients = rows[PATIENT] if PATIENT in rows else pd.Series([f"row {number}" for number in range(len(rows))])
    return Sample(
        organ, pixels, patients.astype(str).to_numpy(str), _levels(rows, generator), _requests(rows, generator)
    )


def read_table(table: Path) -> pd.DataFrame:
    """The rows of a CSV that names images. NotFound without it, InvalidInput for one that does not."""
    try:
        rows = pd.read_csv(table, dtype={IMAGE: str, PATIENT: str, PROMPT: str})
    except FileNotFoundError as error:
        raise NotFound("the table is not there", field=str(table), reason="FILE_NOT_FOUND") from error
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the table cannot be read as CSV: {error}", field=str(table)) from error
    if IMAGE not in rows or rows.empty:
        raise InvalidInput(f"the table needs a column {IMAGE!r} and at least one row", field=str(table))
    for column in (IMAGE, *([PATIENT] if PATIENT in rows else [])):
        if rows[column].isna().any():
            raise InvalidInput(f"row {int(rows[column].isna().argmax()) + 2} has no {column}", field=str(table))
    return rows


def decoded(folder: Path, names: list[str], spec: PixelSpec, on_image: Callable[[], None]) -> np.ndarray:
    """(N, C, H, W) in the range of ``spec``, decoded in the sandbox. Raises what the decoder says of a file."""
    pixels = np.zeros((len(names), *spec.shape), np.float32)
    with Decoder(workers=1) as decoder:
        sources = (Source(InFolder(folder, name)) for name in names)
        for found in decoder.decode_many(sources):
            if isinstance(found, Refused):
                error: ServiceError = found.error
                raise error
            try:
                pixels[found.source] = to_model(found.pixels[None], spec)[0]
            except ImageShapeError as error:
                raise InvalidInput(str(error), field=names[found.source]) from error
            on_image()
    return pixels


def _levels(rows: pd.DataFrame, generator: Generator) -> pd.DataFrame:
    known = {condition.name: condition for condition in generator.conditions}
    columns: dict[str, list[str | None]] = {}
    for name in map(str, rows.columns):
        values = rows[name].tolist()
        if name in known:
            columns[name] = [level_of(known[name], value) for value in values]
        elif name not in _NO_LEVELS and 1 < rows[name].nunique() <= _MOST_LEVELS:
            columns[name] = [None if is_missing(value) else str(value) for value in values]
    return pd.DataFrame(columns, index=range(len(rows)), dtype=object)


def _requests(rows: pd.DataFrame, generator: Generator) -> list[dict[str, Any]]:
    """What asks for each row; empty where the table does not say."""
    if generator.task == "text-to-image" and PROMPT in rows and not rows[PROMPT].isna().any():
        return [{"prompt": prompt} for prompt in rows[PROMPT]]
    names = [condition.name for condition in generator.conditions]
    if generator.task == "class-to-image" and names and all(name in rows for name in names):
        return [
            {"attributes": {name: spelled(value) for name, value in row.items() if not is_missing(value)}}
            for row in rows[names].to_dict("records")
        ]
    return []
