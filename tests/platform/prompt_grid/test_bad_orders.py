"""What is refused, and that no image was made for it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import yaml

from services.adapters.learned import learned, learned_json
from services.errors import ServiceError
from tests.packages import write_classifier
from tests.platform.prompt_grid import worlds
from tests.platform.prompt_grid.worlds import CLASSIFIED, PROMPTS, Planted, forgetful

FEW = "\n".join(PROMPTS[:4])
NAMING = "\n".join([*PROMPTS[:6], "Frontal chest radiograph. a woman, no pleural effusion"])
NAMING_IN_OTHER_WORDS = "\n".join(f"portrait {number} of a female physician" for number in range(6))
OTHERS = "\n".join(f"portrait {number} of a physician" for number in range(6))


def planted(**changed):
    shares = {"planted@1": lambda prompt: 0.5, "planted@2": lambda prompt: 0.5}
    return Planted(shares, classifiers={"forgetful": forgetful}, **changed)


@pytest.mark.parametrize(
    ("changed", "reason", "field"),
    [
        ({"targets": ("0.5/0.4",)}, "TARGET_INVALID", "target"),
        ({"targets": ("x/0.5",)}, "TARGET_INVALID", "target"),
        ({"targets": ("-0.5/1.5",)}, "TARGET_INVALID", "target"),
        ({"targets": ("Female=0.5,Female=0.5",)}, "TARGET_INVALID", "target"),
        ({"targets": ("Female=0.5,Other=0.5",)}, "TARGET_LEVEL_UNKNOWN", "target"),
        ({"targets": ("0.2/0.3/0.5",)}, "TARGET_LEVEL_UNKNOWN", "target"),
        ({"targets": ("0.5/0.5", "Male=0.5,Female=0.5")}, "INVALID_INPUT", "target"),
        ({"attribute": "weight"}, "ATTRIBUTE_UNKNOWN", "attribute"),
        ({"words": FEW}, "PROMPTS_TOO_FEW", "prompts"),
        ({"words": "\n".join([*PROMPTS, PROMPTS[2]])}, "PROMPT_REPEATED", "prompts"),
        ({"words": NAMING}, "PROMPT_NAMES_ATTRIBUTE", "prompts"),
        (
            {"words": NAMING_IN_OTHER_WORDS, "readers": False, "classifiers": ("forgetful",)},
            "PROMPT_NAMES_ATTRIBUTE",
            "prompts",
        ),
        ({"words": OTHERS}, "READERS_CANNOT", "readers"),
        ({"prompts": "nowhere.txt"}, "FILE_NOT_FOUND", "nowhere.txt"),
        ({"prompts": None}, "NO_PROMPT_GRID", "prompts"),
        ({"prompts": None, "organs": ("pelvis",)}, "NO_PROMPT_GRID", "organ"),
        ({"readers": False}, "NO_JUDGE", "classifier"),
        ({"classifiers": ("planted@2",)}, "MODEL_TASK_MISMATCH", "classifier"),
        ({"model": "forgetful"}, "MODEL_TASK_MISMATCH", "model"),
        ({"images": 0}, "VALUE_OUT_OF_RANGE", "images"),
    ],
)
def test_it_is_refused_before_any_image(audit, tmp_path, changed, reason, field):
    platform = planted()
    if "words" in changed:
        (tmp_path / "words.txt").write_text(changed["words"])
        changed = {**changed, "prompts": str(tmp_path / "words.txt")}
        del changed["words"]
    with pytest.raises(ServiceError) as caught:
        audit(platform, **changed)
    assert (caught.value.reason, caught.value.field) == (reason, field)
    assert platform.asked == 0
    assert "woman" not in caught.value.message  # errors never hold prompts


def test_models_that_draw_from_other_noise_are_no_pair(audit):
    with pytest.raises(ServiceError) as caught:
        audit(planted(noise="each its own"), baseline="planted@2", images=2)
    assert caught.value.reason == "NOISE_DIFFERS"


@pytest.fixture
def people(tmp_path):
    """Six labelled chests as files, of patients p0 to p5."""
    pixels, shown = worlds.pool()
    rows = [row for sex in ("Female", "Male") for row in range(len(shown)) if shown[row]["sex"] == sex][:3]
    rows += [row for row in range(len(shown)) if shown[row]["sex"] == "Male"][:3]
    folder = tmp_path / "people"
    folder.mkdir()
    lines = ["image,patient_id,sex"]
    for number, row in enumerate(rows):
        np.save(folder / f"{number}.npy", pixels[row])
        lines.append(f"{number}.npy,p{number},{shown[row]['sex']}")
    (tmp_path / "people.csv").write_text("\n".join(lines))
    return str(folder), str(tmp_path / "people.csv")


@pytest.fixture
def write_judge(registry, tmp_path):
    """A classifier's package that lists whom it learned from."""

    def write(labels=("Female", "Male"), patients=(), **changed):
        fields = {"task": "attribute-classification", "label_column": "sex", "input": CLASSIFIED, **changed}
        folder = write_classifier(tmp_path / "zoo", labels=labels, name="judge", **fields)
        data = learned_json([learned("judge@1", patients, salt=hashlib.sha256(b"data").hexdigest())])
        (folder / "learned_from.json").write_bytes(data)
        record = yaml.safe_load((folder / "model.yaml").read_text())
        listed = {"file": "learned_from.json", "sha256": hashlib.sha256(data).hexdigest(), "patients": len(patients)}
        (folder / "model.yaml").write_text(yaml.safe_dump({**record, "learned_from": listed}))
        worlds.write_registry(tmp_path / "zoo")
        return str(tmp_path / "zoo")

    return write


def test_a_classifier_that_learned_from_the_labelled_patients_is_refused_with_the_count(audit, people, write_judge):
    platform = planted()
    zoo = write_judge(patients=("p1", "p2", "p5", "somebody else"))
    with pytest.raises(ServiceError) as caught:
        audit(platform, classifiers=("judge",), labelled_images=people, registry=zoo)
    assert caught.value.reason == "CLASSIFIER_KNOWS_PATIENTS"
    assert "3 of the 6 patients" in caught.value.message
    assert caught.value.details == {"patients": "3", "model": "judge@1"}
    assert platform.asked == 0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"labels": ("Female", "Male", "Other")}, "CLASSIFIER_DIFFERS"),
        ({"labels": ("young", "old")}, "CLASSIFIER_DIFFERS"),
        ({"modality": "pelvis-radiograph"}, "CLASSIFIER_DIFFERS"),
        ({"input": {"channels": 2, "height": 64, "width": 64}}, "CLASSIFIER_DIFFERS"),
        ({}, "CLASSIFIER_TOO_WEAK"),  # untrained: it tells nobody from anybody
    ],
)
def test_a_classifier_that_cannot_judge_here_is_refused(audit, write_judge, changed, reason):
    platform = planted()
    with pytest.raises(ServiceError) as caught:
        audit(platform, classifiers=("judge",), registry=write_judge(**changed), labelled=20)
    assert caught.value.reason == reason
    assert platform.asked == 0


def test_labelled_images_need_their_attribute(audit, people, tmp_path):
    (tmp_path / "bare.csv").write_text("image,patient_id\n0.npy,p0")
    with pytest.raises(ServiceError, match="needs a column 'sex'"):
        audit(planted(), classifiers=("forgetful",), labelled_images=(people[0], str(tmp_path / "bare.csv")))
