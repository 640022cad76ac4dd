"""Images made elsewhere: the same audit of a folder and a table."""

from __future__ import annotations

import numpy as np
import pytest

from services.errors import ServiceError
from tests.platform.prompt_grid.worlds import PROMPTS, Planted

SHARES = {"planted@1": lambda prompt: 0.75, "planted@2": lambda prompt: 0.5}


@pytest.fixture
def folder(tmp_path):
    """Writes what a planted generator makes of six prompts, as files and a table."""

    def write(model, images=8):
        here = tmp_path / model
        here.mkdir()
        lines = ["prompt,image"]
        ask = Planted(SHARES).ask(model)
        for number, prompt in enumerate(PROMPTS[:6]):
            wanted = {"prompt": prompt, "seed": number, "first_index": 0, "count": images}
            for index, pixels, _ in ask(wanted):
                np.save(here / f"{number}-{index}.npy", pixels)
                lines.append(f'"{prompt}",{number}-{index}.npy')
        (tmp_path / f"{model}.csv").write_text("\n".join(lines))
        return str(here), str(tmp_path / f"{model}.csv")

    return write


def test_a_folder_is_audited_without_a_platform(audit, folder):
    report, _ = audit(
        None, prompts=None, model="planted@2", made=folder("planted@2"), baseline_made=folder("planted@1")
    )
    assert [prompt["text"] for prompt in report["prompts"]] == list(PROMPTS[:6])
    assert {row["n"] for row in report["by_prompt"]} == {8}
    (flips,) = report["flips"]
    assert flips["table"][1][0] == 0 < flips["changed"]
    assert report["noise"] == {"distinct": None, "images": 48, "shared": None}
    assert report["models"]["model"]["images_from"] == "images of a folder"


def test_folders_that_are_no_pairs_are_refused(audit, folder):
    with pytest.raises(ServiceError) as caught:
        audit(None, prompts=None, made=folder("planted@1"), baseline_made=folder("planted@2", images=7))
    assert caught.value.reason == "IMAGES_UNPAIRED"


def test_a_prompt_without_images_is_refused(audit, folder):
    with pytest.raises(ServiceError) as caught:
        audit(None, made=folder("planted@1"))
    assert caught.value.reason == "IMAGES_MISSING"
