"""Who may work in a run's folder."""

from __future__ import annotations

import pytest

from services.training.folders import RunFolder, Stopped
from services.training.recipes import RECIPES
from services.training.runs import Run


@pytest.fixture
def path(tmp_path):
    RunFolder(tmp_path / "run").place_order(Run(RECIPES["sex-classifier"], 1, 1, 30), tmp_path / "models", "1")
    return tmp_path / "run"


def test_a_run_stops_once_a_newer_lease_has_its_folder(path):
    older, newer = RunFolder(path, 3), RunFolder(path, 4)
    older.claim()
    older.check()
    newer.claim()
    newer.check()
    with pytest.raises(Stopped):
        older.check()


def test_a_lease_that_comes_late_takes_nothing_back(path):
    RunFolder(path, 4).claim()
    RunFolder(path, 3).claim()
    RunFolder(path, 4).check()
    with pytest.raises(Stopped):
        RunFolder(path, 3).check()


def test_a_run_that_is_asked_to_stop_does(path):
    folder = RunFolder(path)
    folder.check()
    folder.ask_to_stop()
    with pytest.raises(Stopped):
        folder.check()
