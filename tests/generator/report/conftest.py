"""A counterfactual whose truth is known: what moves, by how much, and what guidance adds."""

import numpy as np
import pytest

from services.generator.report import Findings, Trace, Unguided, difference_map, filmstrip

FRAMES = 181
RECORD = {
    "spec": {
        "model": "models/pelvis-diffusion",
        "model_digest": "0123456789abcdef" * 4,
        "sampler": "dpmpp-2m",
        "steps": 20,
        "seed": "7",
        "guidance": {"scale": 4.0, "rescale": 0.7},
        "upscale_model": "models/pelvis-upscaler",
        "classifier_model": "models/pelvis-race-classifier",
        "path": "linear",
    },
    "model_version": "1",
}


@pytest.fixture
def record():
    return RECORD


@pytest.fixture
def trace():
    """Distance falls by 0.05, angle stays, the grade rises and cannot be read in frames 60 to 74."""
    share = np.linspace(0, 1, FRAMES)
    grade = 1 + 0.5 * share
    grade[60:75] = np.nan
    return Trace(
        {"distance": 0.84 - 0.05 * share, "neck_angle": 130 + 0.1 * share, "grade": grade},
        {"race Black": 1 / (1 + np.exp(-12 * (share - 0.4)))},
        {"distance": "half-widths", "neck_angle": "°"},
    )


@pytest.fixture
def spreads():
    return {"distance": 0.04, "neck_angle": 6.0, "grade": 1.0}


@pytest.fixture
def unguided():
    """At scale 1 the distance goes from 0.84 to 0.80: all of the excess of 0.01 is at the last end."""
    return Unguided(
        {"distance": 0.84, "neck_angle": 130.0, "grade": 1.0},
        {"distance": 0.80, "neck_angle": 130.08, "grade": 1.5},
        "last",
        0.02,
    )


@pytest.fixture
def ends():
    """First and last frame (1, 32, 32): a square at the left brightens by 0.3, one at the right darkens by 0.2."""
    first = np.full((1, 32, 32), 0.4, np.float32)
    last = first.copy()
    last[:, 8:16, 4:12] += 0.3
    last[:, 8:16, 20:28] -= 0.2
    return first, last


@pytest.fixture
def findings(record, trace, spreads, unguided, ends):
    return Findings(
        record=record,
        source={"race": "White"},
        target={"race": "Black"},
        trace=trace,
        filmstrip=filmstrip(ends, record, labels=["0", "180"]),
        difference=difference_map(*ends, record),
        held={"sex": "Female"},
        free=["laterality"],
        spreads=spreads,
        spread_source="within groups of 2,000 phantoms",
        unguided=unguided,
        video=b"\0\0\0\x18ftypmp42",
    )
