from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save

from services.adapters.weights import DirectoryRegistry, load_record
from services.errors import FailedPrecondition, Internal, InvalidInput, NotFound, ServiceError, UnsupportedFormat
from services.maths.canonical import canonical_json


def package(root: Path, *, version: str = "1", data: bytes | None = None, **changes: object) -> Path:
    """Write a small valid package, with some fields of its model.yaml changed."""
    folder = root / "tiny" / version
    folder.mkdir(parents=True)
    data = save({"weight": np.full((1, 1), float(version), np.float32)}) if data is None else data
    (folder / "weights.safetensors").write_bytes(data)
    record = {
        "name": "tiny",
        "version": version,
        "task": "classification",
        "family": "pointwise",
        "input": {"channels": 1, "height": 4, "width": 4},
        "labels": ["sick"],
        "licence": "Apache-2.0",
        "files": {"weights.safetensors": hashlib.sha256(data).hexdigest()},
    } | changes
    (folder / "model.yaml").write_text(yaml.safe_dump(record))
    return folder


def test_the_highest_version_answers_unless_one_is_named(tmp_path: Path) -> None:
    for version in ("2", "10", "9"):
        package(tmp_path, version=version)
    registry = DirectoryRegistry([tmp_path])
    assert registry.find("tiny").version == "10"
    assert registry.find("tiny", "9").version == "9"
    assert registry.load_tensors(registry.find("tiny", "9"))["weight"][0, 0] == 9


@pytest.mark.parametrize("name, version", [("huge", ""), ("tiny", "7")])
def test_an_unknown_model_or_version_is_not_found(tmp_path: Path, name: str, version: str) -> None:
    package(tmp_path)
    with pytest.raises(NotFound) as caught:
        DirectoryRegistry([tmp_path]).find(name, version)
    assert caught.value.reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize("filename", ["model.pt", "model.pkl", "model.ckpt", "../weights.safetensors", "weights.onnx"])
def test_only_safetensors_in_the_package_itself_are_accepted(tmp_path: Path, filename: str) -> None:
    package(tmp_path, files={filename: "0" * 64})
    with pytest.raises(UnsupportedFormat) as caught:
        DirectoryRegistry([tmp_path])
    assert caught.value.reason == "WEIGHTS_FORMAT_REFUSED"


def test_a_pickle_under_a_safetensors_name_is_refused_without_being_run(tmp_path: Path) -> None:
    canary = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (canary,)

    package(tmp_path, data=pickle.dumps(Evil()))
    registry = DirectoryRegistry([tmp_path])
    with pytest.raises(UnsupportedFormat, match="not a safetensors"):
        registry.load_tensors(registry.find("tiny"))
    assert not canary.exists()


def test_a_changed_byte_of_the_weights_is_noticed(tmp_path: Path) -> None:
    folder = package(tmp_path)
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(bytes(data))
    registry = DirectoryRegistry([tmp_path])
    with pytest.raises(Internal) as caught:
        registry.load_tensors(registry.find("tiny"))
    assert caught.value.reason == "WEIGHTS_CORRUPT"


def test_a_record_without_its_weights_says_so(tmp_path: Path) -> None:
    (package(tmp_path) / "weights.safetensors").unlink()
    registry = DirectoryRegistry([tmp_path])
    with pytest.raises(FailedPrecondition) as caught:
        registry.load_tensors(registry.find("tiny"))
    assert caught.value.reason == "WEIGHTS_MISSING"


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"task": "magic"}, "task"),
        ({"colour": "red"}, "colour"),
        ({"backend": "triton"}, "model.yaml"),
        ({"labels": []}, "model.yaml"),
        ({"thresholds": {"well": 0.5}}, "model.yaml"),
        ({"thresholds": {"sick": 50.0}}, "model.yaml"),
        ({"threshold_source": {"split": "the best one"}}, "threshold_source.split"),
        ({"threshold_source": {"cohort": "c0"}}, "threshold_source.split"),
        ({"input": {"channels": 0, "height": 4, "width": 4}}, "input.channels"),
        ({"output": {"channels": 1, "height": 4, "width": 4, "low": 1.0, "high": 1.0}}, "output"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, changes: dict[str, object], field: str) -> None:
    folder = package(tmp_path, **changes)
    with pytest.raises(ServiceError) as caught:
        load_record(folder)
    assert caught.value.field == field


@pytest.mark.parametrize("low, high", [(1.0, 0.0), (0.5, 0.5), (0.0, float("inf")), (float("nan"), 1.0)])
def test_a_value_range_without_an_inside_is_refused(tmp_path: Path, low: float, high: float) -> None:
    folder = package(tmp_path, input={"channels": 1, "height": 4, "width": 4, "low": low, "high": high})
    with pytest.raises(InvalidInput, match="low must be below high") as caught:
        load_record(folder)
    assert caught.value.field == "input"


def test_a_package_in_the_wrong_folder_is_refused(tmp_path: Path) -> None:
    package(tmp_path, name="other")
    with pytest.raises(InvalidInput, match="other/1"):
        DirectoryRegistry([tmp_path])


def test_a_bad_package_is_left_out_where_somebody_is_told(tmp_path: Path) -> None:
    package(tmp_path)
    package(tmp_path, version="2", colour="red")
    package(tmp_path, version="3", name="other")
    (package(tmp_path, version="4") / "model.yaml").write_bytes(b"\xff")  # not even text
    told: dict[str, Exception] = {}
    registry = DirectoryRegistry([tmp_path], left_out=told.__setitem__)
    assert [record.version for record in registry.models()] == ["1"]
    assert set(told) == {"tiny/2", "tiny/3", "tiny/4"}


def test_a_package_that_was_taken_away_is_named(tmp_path: Path) -> None:
    learned_from = {"file": "learned_from.json", "sha256": "0" * 64, "patients": 3}
    record = load_record(package(tmp_path / "before", learned_from=learned_from))
    registry = DirectoryRegistry([tmp_path / "after"])
    for read in (registry.learned_from, registry.load_tensors, registry.folder):
        with pytest.raises(FailedPrecondition, match="tiny/1 is no longer in the registry") as caught:
            read(record)
        assert caught.value.reason == "PACKAGE_GONE"


def test_the_digest_changes_with_thresholds_but_not_with_scores(tmp_path: Path) -> None:
    plain = load_record(package(tmp_path / "a"))
    scored = load_record(package(tmp_path / "b", scores={"mean_auroc": 0.9}))
    tuned = load_record(package(tmp_path / "c", thresholds={"sick": 0.4}))
    vouched = load_record(package(tmp_path / "d", threshold_source={"split": "validation", "patients": 600}))
    assert plain.digest == scored.digest == vouched.digest != tuned.digest


def test_the_digest_is_taken_over_canonical_json(tmp_path: Path) -> None:
    record = load_record(package(tmp_path, labels=["krankä"], thresholds={"krankä": -0.0}))
    same = load_record(package(tmp_path / "zero", labels=["krankä"], thresholds={"krankä": 0.0}))
    undecisive = {"licence", "scores", "threshold_source", "training", "learned_from"}
    # Empty in a classifier:
    others = {"diffusion", "restoration", "conditions", "factor", "base", "mask_labels"}
    decisive = record.model_dump(mode="json", exclude=undecisive | others)
    assert record.digest == same.digest == hashlib.sha256(canonical_json(decisive)).hexdigest()
