"""Prompts that tune and prompts that judge say different things, and neither says what is left open."""

from __future__ import annotations

import pytest

from services.maths.phantoms.captions import parse
from services.maths.phantoms.prompt_grids import prompt_grid


def test_training_and_test_prompts_share_no_meaning():
    training, test = prompt_grid("cardiac", "sex")
    assert (len(training), len(test)) == (100, 20)
    meant = [{tuple(sorted(p.attributes.items())) for p in prompts} for prompts in (training, test)]
    assert (len(meant[0]), len(meant[1]), len(meant[0] & meant[1])) == (100, 20, 0)


def test_each_prompt_reads_back_as_what_it_names_and_leaves_the_attribute_open():
    for prompt in sum(prompt_grid("cardiac", "sex"), ()):
        assert parse(prompt.text) == ("cardiac", prompt.attributes)
        assert "sex" not in prompt.attributes


def test_the_grid_is_the_same_each_time():
    assert prompt_grid("cardiac", "sex") == prompt_grid("cardiac", "sex")


@pytest.mark.parametrize(
    ("kind", "free", "said"),
    [("chest", "sex", "12 prompts"), ("brain", "sex", "not 'sex'"), ("hand", "sex", "kind must be")],
)
def test_what_makes_no_grid_is_refused(kind, free, said):
    with pytest.raises(ValueError, match=said):
        prompt_grid(kind, free)
