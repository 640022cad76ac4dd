"""`evenhand generations`, `counterfactuals` and `upscalings`."""

import json

import numpy as np
import pandas as pd
import pytest
import typer
from evenhand import commands
from evenhand.commands import console
from evenhand.commands.settings import changes, given, pairs

from tests.client.generation_twin import MODELS, STEPS, pixels_of


@pytest.fixture(autouse=True)
def generators(twin, monkeypatch):
    twin.models |= MODELS
    monkeypatch.setattr(commands, "entry_points", lambda group: [])


def test_from_words_to_files_and_back_to_the_same_image(run, twin, tmp_path):
    code, out, err = run("generations", "create", "normal chest", "--count", 2, "--seed", 3, "-o", tmp_path, "--json")
    assert code == 0
    made = json.loads(out)
    assert (made["state"], made["spec"]["prompt"], made["spec"]["seed"]) == ("STATE_SUCCEEDED", "normal chest", "3")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image-0000.png", "image-0001.png", "records.jsonl"]
    assert "3 files" in err
    code, out, _ = run("generations", "repeat", tmp_path / "image-0001.png", "--out", tmp_path / "again.npy", "--json")
    assert code == 0
    assert json.loads(out)["identical"] is True
    np.testing.assert_array_equal(np.load(tmp_path / "again.npy"), pixels_of(1))
    spec = twin.called("GenerateImages")[0].spec
    assert (spec.prompt, spec.seed, spec.first_index, spec.count) == ("normal chest", 3, 1, 1)


def test_an_image_that_is_not_the_same_has_its_exit_code(run, tmp_path):
    run("generations", "create", "normal chest", "-o", tmp_path)
    record = json.loads((tmp_path / "records.jsonl").read_text())
    (tmp_path / "other.json").write_text(json.dumps({**record, "pixels_digest": "0" * 64}))
    code, out, err = run("generations", "repeat", tmp_path / "other.json", "--json")
    assert code == console.ExitCode.CONFLICT
    assert json.loads(out)["identical"] is False
    assert json.loads(err.splitlines()[-1])["error"]["reason"] == "IMAGE_DIFFERS"


def test_every_option_of_a_generation_reaches_the_server(run, twin, tmp_path):
    np.save(tmp_path / "mask.npy", np.zeros((4, 4), np.uint8))
    options = ["-a", "sex=Female, age=63", "-a", "race=Black, or of African descent", "--model", "pelvis"]
    options += ["--mask", tmp_path / "mask.npy", "--first-index", 2, "--sampler", "ddim", "--steps", 9]
    options += ["--guidance", 4, "--negative", "b", "--upscale", "larger", "--format", "npy", "--format", "dicom"]
    twin._refuse_unknown = lambda spec, context: None
    assert run("generations", "create", "a", *options)[0] == 0
    spec = twin.called("CreateGeneration")[0].spec
    assert dict(spec.attributes) == {"sex": "Female", "age": "63", "race": "Black, or of African descent"}
    assert (spec.model, spec.first_index, spec.sampler, spec.steps) == ("models/pelvis", 2, "ddim", 9)
    assert (spec.guidance.scale, spec.negative_prompt, spec.upscale_model) == (4.0, "b", "models/larger")
    assert (list(spec.formats), spec.mask.filename) == (["npy", "dicom"], "mask.npy")


def test_a_stream_writes_images_and_previews_as_they_come(run, tmp_path):
    code, out, _ = run("generations", "stream", "a", "--count", 2, "--previews", 2, "-o", tmp_path / "new", "--json")
    assert code == 0
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == [name for i in (0, 1) for name in (f"image-000{i}-step-002.png", f"image-000{i}.png")]
    assert [row["step"] for row in json.loads(out)] == [2, STEPS, 2, STEPS]
    code, _, _ = run("generations", "stream", "a", "--format", "npy", "-o", tmp_path / "exact")
    assert code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "exact" / "image-0000.npy"), pixels_of(0))
    assert run("generations", "stream", "a", "--format", "dicom")[0] == console.ExitCode.USAGE


def test_a_counterfactual_leaves_files_a_trace_and_a_warning(run, twin, tmp_path):
    options = ["--hold", "age=63", "--frames", 5, "--both", "--classifier", "reader", "-o", tmp_path]
    code, out, _ = run("counterfactuals", "create", "sex=Female:Male", *options, "--json")
    assert code == 0
    name = json.loads(out)["name"]
    spec = twin.called("CreateCounterfactual")[0].spec
    assert (dict(spec.source_attributes), dict(spec.target_attributes)) == ({"sex": "Female"}, {"sex": "Male"})
    assert (dict(spec.held_attributes), spec.frames, spec.both_directions) == ({"age": "63"}, 5, True)
    assert (tmp_path / "video.mp4").read_bytes() == b"moov"
    code, out, _ = run("counterfactuals", "trace", name, "--out", tmp_path / "trace.csv", "--json")
    assert code == 0
    assert pd.read_csv(tmp_path / "trace.csv")["distance"].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    code, _, err = run("counterfactuals", "show", name)
    assert code == 0
    assert "exaggerates" in err


def test_an_upscaling_of_a_file(run, twin, tmp_path):
    (tmp_path / "scan.dcm").write_bytes(b"dicom")
    code, _, _ = run("upscalings", "create", tmp_path / "scan.dcm", "--tile", 64, "--out", tmp_path / "larger")
    assert code == 0
    assert twin.called("CreateUpscaling")[0].image.file == b"dicom"
    assert [path.name for path in (tmp_path / "larger").iterdir()] == ["image.npy"]
    code, _, err = run("upscalings", "create", tmp_path / "none.dcm")
    assert (code, "none.dcm" in err) == (console.ExitCode.INVALID, True)


@pytest.mark.parametrize(
    ("room", "start"),
    [
        ("generations", ["create", "a"]),
        ("counterfactuals", ["create", "age=30:80"]),
        ("upscalings", ["create", "scan.npy"]),
    ],
)
def test_each_kind_is_listed_shown_cancelled_downloaded_and_deleted(run, tmp_path, monkeypatch, room, start):
    monkeypatch.chdir(tmp_path)
    np.save("scan.npy", np.zeros((4, 4), np.float32))
    code, out, _ = run(room, *start, "--watch", "--name", "mine", "--json")
    assert code == 0
    name = json.loads(out)["name"]
    code, out, _ = run(room, "list")
    assert code == 0 and "mine" in out
    assert [made["name"] for made in json.loads(run(room, "list", "--json")[1])] == [name]
    assert run(room, "list", "--model", "other")[2].strip() == "none"
    code, out, _ = run(room, "show", name)
    assert code == 0 and "succeeded" in out
    code, out, _ = run(room, "download", name, "--out", "files", "--json")
    assert code == 0 and len(json.loads(out)) == len(list((tmp_path / "files").iterdir()))
    assert run(room, "cancel", name)[0] == 0
    assert run(room, "delete", name)[0] == 0
    assert run(room, "show", name)[0] == console.ExitCode.NOT_FOUND


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["generations", "create", "-a", "sex"], console.ExitCode.USAGE, "name=value"),
        (["generations", "create", "-a", "=Female"], console.ExitCode.USAGE, "name=value"),
        (["generations", "create", "--count", "0"], console.ExitCode.USAGE, "count"),
        (["generations", "create", "--seed", "-1"], console.ExitCode.USAGE, "seed"),
        (["generations", "create", "a", "--seed", str(2**63)], console.ExitCode.INVALID, "[seed]"),
        (["generations", "create", "-a", "bmi=30"], console.ExitCode.INVALID, "models show"),
        (["generations", "repeat", "none.png"], console.ExitCode.INVALID, "none.png"),
        (["counterfactuals", "create", "sex=Female"], console.ExitCode.USAGE, "from:to"),
        (["counterfactuals", "create", "sex=:Male"], console.ExitCode.USAGE, "from:to"),
        (["counterfactuals", "create"], console.ExitCode.USAGE, "CHANGE"),
        (["counterfactuals", "trace", "1", "--out", "trace.parquet"], console.ExitCode.INVALID, "trace.parquet"),
        (["upscalings", "show", "none"], console.ExitCode.NOT_FOUND, "upscalings list"),
    ],
)
def test_wrong_input_is_named(run, arguments, code, said):
    found, _, err = run(*arguments)
    assert found == code
    assert said in err


def test_help_teaches_by_examples(run):
    for room, example in (
        ("generations", "evenhand generations repeat images/image-0000.png"),
        ("counterfactuals", "evenhand counterfactuals create sex=Female:Male"),
        ("upscalings", "evenhand upscalings create pelvis.dcm"),
    ):
        code, out, _ = run(room, "--help")
        assert code == 0
        assert example in out
    assert "evenhand generations create" in run("--help")[1]


def test_a_models_vocabulary_is_shown(run):
    code, out, _ = run("models", "show", "pelvis")
    assert code == 0
    assert '"sex": "Female, Male"' in out and '"age": "18 to 95"' in out


def test_values_may_have_commas_and_colons_of_their_own():
    assert pairs(["a=1,b=2", "c=x, y"], "") == {"a": "1", "b": "2", "c": "x, y"}
    assert changes(["stage=T1:T2:b"]) == ({"stage": "T1"}, {"stage": "T2:b"})
    assert given(a=0, b="", c=None, d=[], e={}, f=1, g=False, h=0.5) == {"f": 1, "h": 0.5}
    with pytest.raises(typer.BadParameter):
        pairs(["a,b=1"], "")
