"""Images whose group is known, on which a classifier's errors are measured before they are taken out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from services.errors import FailedPrecondition, InvalidInput
from services.maths.fairness.generator_bias import rogan_gladen
from services.maths.phantoms.captions import attributes_of
from services.maths.phantoms.worlds import Kind, patient_name
from services.maths.pixels import PixelSpec
from services.platform.evaluation.folders import IMAGE, PATIENT, decoded, read_table
from services.platform.prompt_grid.judges import Classifier, Codes
from services.platform.prompt_grid.orders import Folder
from services.platform.prompt_grid.prompts import Prompt
from services.training.examples import HELD_OUT, phantom_seed
from services.training.generative.images import draw_pictures

Counts = npt.NDArray[np.int64]
Tick = Callable[[], None]

_SHIFT = 7_000_003  # away from the small seeds that recipes take


@dataclass(frozen=True)
class Labelled:
    """(N, C, H, W) in [0, 1] as the generator gives them, the group of each image, and whose it is."""

    pixels: npt.NDArray[np.float32]
    codes: Codes
    patients: npt.NDArray[np.str_]
    words: str


def drawn(
    prompts: Sequence[Prompt],
    attribute: str,
    levels: Sequence[str],
    *,
    spec: PixelSpec,
    patients: int,
    seed: int,
    tick: Tick = lambda: None,
) -> Labelled:
    """Phantoms of the organs that the prompts ask for, in these proportions, one image a patient.

    An image on which the attribute is ambiguous by its own drawing takes no part: a caption would not name it either.
    """
    kinds = [prompt.kind for prompt in prompts]
    pixels, codes, names = [], [], []
    for kind in dict.fromkeys(kinds):
        count = -(-patients * kinds.count(kind) // len(kinds))
        stream = _SHIFT + seed
        pictures = draw_pictures(
            cast("Kind", kind), "null", HELD_OUT, patients=count, seed=stream, pixels=spec, check=tick
        )
        rows = pictures.table.drop_duplicates("patient_id").index
        for row in rows:
            level = attributes_of(cast("Kind", kind), pictures.table.loc[row].to_dict())[attribute]
            if level is not None:
                number = int(str(pictures.table.at[row, "patient_id"]).rpartition("-")[2])
                pixels.append(pictures.pixels[row].numpy())
                codes.append(levels.index(level))
                names.append(patient_name(kind, phantom_seed(stream, HELD_OUT), number))
    organs = ", ".join(dict.fromkeys(kinds))
    words = f"phantoms of {len(names)} patients of another seed ({organs})"
    return Labelled(np.stack(pixels), np.array(codes, np.int64), np.array(names), words)


def of_folder(files: Folder, attribute: str, levels: Sequence[str], spec: PixelSpec, tick: Tick) -> Labelled:
    """The first image of each patient, by a CSV with ``image``, ``patient_id`` and the attribute.

    InvalidInput without these columns, or where no image has one of ``levels``.
    """
    folder, table = files
    rows = read_table(table)
    lacking = [column for column in (PATIENT, attribute) if column not in rows]
    if lacking:
        raise InvalidInput(f"the table of labelled images needs a column {lacking[0]!r}", field=str(table))
    rows = rows[rows[attribute].isin(levels)].drop_duplicates(PATIENT).reset_index(drop=True)
    if rows.empty:
        raise InvalidInput(f"no labelled image has one of the groups {', '.join(levels)}", field=str(table))
    codes = np.array([levels.index(level) for level in rows[attribute]], np.int64)
    pixels = decoded(folder, [str(name) for name in rows[IMAGE]], spec, tick)
    patients = rows[PATIENT].to_numpy(str)
    words = f"labelled images of {len(rows)} patients"
    return Labelled(pixels, codes, patients, words)


def check_strangers(classifier: Classifier, labelled: Labelled) -> None:
    """FailedPrecondition CLASSIFIER_KNOWS_PATIENTS, with the count, where it learned from any of them.

    On images that it learned from it errs too seldom, and the correction takes out too little.
    """
    patients = set(labelled.patients.tolist())
    shared = {patient for one in classifier.learned or () for patient in one.shared(patients)}
    if shared:
        raise FailedPrecondition(
            f"{classifier.title} learned from {len(shared)} of the {len(patients)} patients that it is to be measured "
            "on; measure it on others",
            field="classifier",
            reason="CLASSIFIER_KNOWS_PATIENTS",
            details={"patients": str(len(shared)), "model": classifier.title},
        )


def confusion_of(classifier: Classifier, labelled: Labelled, levels: Sequence[str]) -> Counts:
    """(K, K) images, true by predicted. InvalidInput CLASSIFIER_TOO_WEAK where no correction can be made of them."""
    found = classifier.decide(classifier.probabilities(labelled.pixels, levels), levels)
    counts = np.zeros((len(levels), len(levels)), np.int64)
    seen = found >= 0
    np.add.at(counts, (labelled.codes[seen], found[seen]), 1)
    try:
        rogan_gladen(counts)
    except ValueError as error:
        raise InvalidInput(
            f"{classifier.title} cannot judge here: {error}", field="classifier", reason="CLASSIFIER_TOO_WEAK"
        ) from error
    return counts
