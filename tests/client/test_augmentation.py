"""A downstream study's file: what it asks, what of it is for phantoms only, what is wrong with a bad one."""

from pathlib import Path

import pytest
import yaml
from evenhand.augmentation import is_augmentation, read_augmentation
from evenhand.balancing import synthetic_spec
from evenhand.errors import InvalidInput

from services.platform.augmentation.orders import read_order

STUDIES = Path(__file__).resolve().parents[2] / "deploy/studies"
SHIPPED = STUDIES / "augmentation.yaml"


@pytest.fixture
def write(tmp_path):
    def write(**fields):
        plain = yaml.safe_load(SHIPPED.read_text())
        plain["augmentation"] = {k: v for k, v in (plain["augmentation"] | fields).items() if v is not None}
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(plain))
        return path

    return write


def test_the_shipped_study_is_one_and_the_other_is_none(tmp_path):
    assert is_augmentation(SHIPPED)
    assert not is_augmentation(STUDIES / "reconstruction.yaml")
    assert not is_augmentation(tmp_path / "missing.yaml")


def test_what_the_shipped_study_asks_is_taken_by_the_platform_and_by_its_cohorts():
    study = read_augmentation(SHIPPED)
    order = read_order(study.order)
    assert order.repeats >= 8 and order.sampler == "group-balanced"
    assert {arm.source for arm in order.arms} == {"", *study.synthetic}
    for spec in study.generated.values():
        settings = dict(spec)
        asked = [settings.pop(name) for name in ("model", "template", "images")]
        assert synthetic_spec("cohorts/one", *asked, settings).images >= max(arm.synthetic for arm in order.arms)


def test_patients_have_no_oracle_nor_arms_that_learn_from_one():
    study = read_augmentation(SHIPPED).without_oracle()
    order = read_order(study.order)
    assert set(study.synthetic) == {"controlnet"}
    assert {arm.source for arm in order.arms} == {"", "controlnet"}


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"order": None}, "augmentation.order"),
        ({"synthetic": None}, "augmentation.synthetic"),
        ({"colour": "blue"}, "augmentation.colour"),
        ({"cohort": "Two Words"}, "augmentation.cohort"),
        ({"phantoms": {"kind": "cardiac", "patients": 0}}, "augmentation.phantoms.patients"),
        ({"order": ["label"]}, "augmentation"),
    ],
)
def test_what_is_wrong_is_named(write, fields, where):
    with pytest.raises(InvalidInput) as refused:
        read_augmentation(write(**fields))
    assert refused.value.field == where


def test_show_says_how_many_synthetic_images_each_arm_has(run):
    code, told, _ = run("studies", "show", SHIPPED)
    assert code == 0
    assert "real + 400: all real training images, 400 synthetic ones from controlnet" in told
    assert "synthetic 400: no real image" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", SHIPPED, "--model", "a=b"), "names its models itself"),
        (("run", SHIPPED, "--chest", "DIR"), "no such option --chest"),
        (("run", SHIPPED, "--cardiac-table", "rows.csv"), "a table belongs to a folder"),
    ],
)
def test_other_models_and_other_options_are_refused(run, arguments, words):
    code, _, told = run("studies", *arguments)
    assert code != 0 and words in told
