"""What generative recipes learn from: conditions, captions and small pictures, the same as in serving."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from services.maths.diffusion.attributes import Attribute, attribute_vector
from services.maths.phantoms.captions import compose, parse, random_attributes
from services.maths.pixels import to_model
from services.training.generative.captioned import captioned
from services.training.generative.class_to_image import hidden, shuffled, vectors
from services.training.generative.images import HELD_OUT, TRAINING, draw_pictures, spec
from services.training.generative.recipes import ORGANS, PELVIS_ATTRIBUTES, SEVERITY, TOKENS
from services.training.generative.super_resolution import enlarged, reduced
from services.training.generative.text_to_image import Prompts, hint
from services.training.generative.tokens import train_tokenizer

ALL = (*PELVIS_ATTRIBUTES, SEVERITY)


def test_attributes_become_places_and_what_is_not_given_is_nan():
    attributes = (Attribute("sex", ("Female", "Male")), Attribute("age", low=0, high=100))
    assert attribute_vector(attributes, {"sex": "Male", "age": 75}).tolist() == [0.0, 1.0, 0.5]
    assert np.isnan(attribute_vector(attributes, {"age": 0})[:2]).all()


@pytest.mark.parametrize(
    ("given", "named"),
    [({"sex": "male"}, "sex"), ({"age": 101}, "age"), ({"age": "old"}, "age"), ({"race": "White"}, "race")],
)
def test_unknown_attributes_and_levels_are_refused_by_name(given, named):
    attributes = (Attribute("sex", ("Female", "Male")), Attribute("age", low=0, high=100))
    with pytest.raises(ValueError, match=f"^{named}: "):
        attribute_vector(attributes, given)


def test_a_missing_race_is_no_level():
    row = {"sex": "Male", "age": 50, "race": None, "bmi": 30.0, "laterality": "left", "projection": "AP"}
    table = pd.DataFrame([row | {"osteoarthritis": 3}, row | {"race": "Black", "osteoarthritis": 0}])
    rows = vectors(ALL, table)
    race = slice(3, 7)
    assert rows[0, race].isnan().all()
    assert rows[1, race].tolist() == [0.0, 1.0, 0.0, 0.0]


def test_an_attribute_is_hidden_with_all_of_its_places_unless_it_is_always_given():
    rows = torch.zeros(4000, sum(attribute.places for attribute in ALL))
    gone = hidden(rows, ALL, torch.Generator().manual_seed(0), ("osteoarthritis",)).isnan().float()
    assert torch.equal(gone[:, 3], gone[:, 6])
    assert float(gone[:, 3].mean()) == pytest.approx(0.1, abs=0.02)
    assert not gone[:, -5:].any()
    assert not rows.isnan().any()


def test_shuffling_keeps_the_shares_of_a_column_and_the_rest_of_the_table():
    table = pd.DataFrame({"race": ["Black"] * 20 + ["White"] * 80, "x": range(100)})
    dealt = shuffled(table, "race", np.random.default_rng(0))
    assert dealt["race"].value_counts().to_dict() == {"White": 80, "Black": 20}
    assert (dealt["race"] != table["race"]).any() and (dealt["x"] == table["x"]).all()


def test_training_patients_are_never_held_out():
    kind, pixels = "pelvis", spec(1, 32)
    first, other = (
        draw_pictures(kind, "null", role, patients=3, seed=1, pixels=pixels) for role in (TRAINING, HELD_OUT)
    )
    assert float(first.pixels.min()) >= -1.0 and first.pixels.shape[1:] == (1, 32, 32)
    flat = {picture.numpy().tobytes() for picture in first.pixels}
    assert not flat & {picture.numpy().tobytes() for picture in other.pixels}


def test_small_pictures_are_made_as_serving_makes_them():
    large = torch.rand(2, 1, 64, 64) * 2 - 1
    served = to_model(((large + 1) / 2).numpy(), spec(1, 16))
    np.testing.assert_allclose(reduced(large, 4).numpy(), served, atol=1e-6)


def test_enlarging_keeps_the_range_and_the_size():
    small = torch.rand(1, 1, 8, 12) * 2 - 1
    large = enlarged(small, 4)
    assert large.shape == (1, 1, 32, 48) and float(large.abs().max()) <= 1.0


@pytest.fixture(scope="module")
def examples():
    return captioned(
        {
            kind: draw_pictures(kind, "null", TRAINING, patients=12, seed=2, pixels=spec(3, 32))
            for kind in ("pelvis", "cardiac")
        }
    )


def test_captions_say_the_attributes_of_their_pictures(examples):
    rows = torch.arange(len(examples))
    for row, text in zip(rows.tolist(), examples.captions(rows, np.random.default_rng(0)), strict=True):
        kind, told = parse(text)
        assert kind == examples.kinds[row] and told == dict(examples.attributes[row])


def test_organs_and_their_attributes_are_drawn_equally_often(examples):
    rows = examples.balanced_rows(4000, torch.Generator().manual_seed(0))
    kinds = np.array(examples.kinds)[rows.numpy()]
    assert (kinds == "pelvis").mean() == pytest.approx(0.5, abs=0.04)
    meanings = examples.meanings[rows][torch.from_numpy(kinds == "pelvis")]
    counts = meanings.unique(return_counts=True)[1].float()
    assert float(counts.min() / counts.max()) > 0.6


def test_only_hearts_have_masks_and_hints_show_both_phases(examples):
    hearts = torch.tensor([kind == "cardiac" for kind in examples.kinds])
    assert not examples.masks[~hearts].any() and examples.masks[hearts].amax() == 3
    hints = hint(examples.masks[hearts])
    assert torch.equal(hints[:, 0], hints[:, 2]) and not torch.equal(hints[:, 0], hints[:, 1])
    assert float(hints.max()) == 1.0


def test_any_text_can_be_spelt_and_every_caption_fits(tmp_path):
    rng = np.random.default_rng(0)
    captions = [compose(kind, random_attributes(kind, rng), rng) for _ in range(200) for kind in ORGANS]
    tokenizer = train_tokenizer(captions, vocabulary=1024, limit=TOKENS, folder=tmp_path)
    longest = max(len(tokenizer(caption).input_ids) for caption in captions)
    assert longest <= TOKENS
    ids = tokenizer("zürich ~ 42 µm").input_ids
    assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids[1:-1]).replace(" ", "") == "zürich~42µm"


def test_a_prompt_is_encoded_once():
    asked: list[str] = []

    def encode(prompts):
        asked.extend(prompts)
        return torch.stack([torch.full((2, 3), float(len(prompt))) for prompt in prompts])

    prompts = Prompts(encode)
    states = prompts(["a", "bb", "a"])
    assert torch.equal(states[0], states[2]) and float(states[1, 0, 0]) == 2.0
    prompts(["bb"])
    assert asked == ["a", "bb"]
