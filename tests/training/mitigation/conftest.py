"""A room with the shipped models, and small fine-tunings of the X-ray U-Net through the chest classifier."""

from __future__ import annotations

import pytest

from services.adapters.object_store import open_object_store
from services.training import runs
from services.training.zoo import ZOO
from tests.audit.cohorts import put_cohort
from tests.training.room import opened


@pytest.fixture
def room(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "FEWEST_OTHERS", 6)
    with opened(tmp_path, (ZOO,)) as room:
        yield room


@pytest.fixture
def asked():
    """Fields of a CreateTrainingRequest, some changed."""

    def fields(**changes):
        mitigation = {"method": "equalised-odds", "attributes": ["sex"], **changes.pop("mitigation", {})}
        return {
            "recipe": "xray-unet",
            "base": "models/xray-unet",
            "seed": 5,
            "epochs": 2,
            "patients": 14,
            "mitigation": mitigation,
            "data": {"world": "planted"},
        } | changes

    return fields


@pytest.fixture
def put(room):
    def put(name, rows, **more):
        levels = {"sex": ["Female", "Male"], "race": ["White", "Black", "Asian", "Other"]}
        store = open_object_store(room.settings.store)
        put_cohort(room.ledger, store, name, rows, levels=levels, rows_per_shard=16, more=more)

    return put
