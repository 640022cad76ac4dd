"""The packages of the zoo are what their recipes say, and what the hosts read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.adapters.weights import DirectoryRegistry
from services.training.generative.packages import scheduler_config
from services.training.generative.recipes import GENERATIVE_RECIPES

ZOO = Path(__file__).parents[3] / "deploy" / "zoo"


@pytest.fixture(scope="module")
def registry():
    return DirectoryRegistry([ZOO])


@pytest.mark.parametrize("name", GENERATIVE_RECIPES)
def test_a_shipped_package_is_that_of_its_recipe(registry, name):
    recipe, record = GENERATIVE_RECIPES[name], registry.find(name)
    assert record.training["digest"] == recipe.digest
    assert record.task == recipe.task
    assert [attribute.name for attribute in record.attributes()] == [a.name for a in recipe.conditions]
    assert registry.folder(record).is_dir()  # every file has the digest that model.yaml states


def test_the_scheduler_folder_says_what_model_yaml_says(registry):
    record = registry.find("phantom-diffusion")
    told = json.loads((registry.folder(record) / "scheduler" / "scheduler_config.json").read_text())
    assert told == scheduler_config(record.diffusion.model_dump())


def test_the_control_branch_names_the_base_that_is_shipped(registry):
    base = registry.find("phantom-controlnet").base
    assert base is not None and registry.find(base.name).digest == base.digest


def test_what_must_be_given_is_not_optional(registry):
    conditions = registry.find("pelvis-severity-diffusion").conditions
    assert [c.name for c in conditions if not c.optional] == ["osteoarthritis"]


def test_a_generator_tells_the_shares_that_it_saw(registry):
    shares = registry.find("pelvis-diffusion").training["shares"]["race"]
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-3)
    assert shares["Black"] < shares["White"]


def test_all_generators_have_at_most_eight_million_parameters():
    """Half precision: two bytes each."""
    for name in GENERATIVE_RECIPES:
        size = sum(path.stat().st_size for path in (ZOO / name).rglob("*.safetensors"))
        assert size <= 2 * 8_000_000, name
