"""Synthetic images from Python: created, streamed, read back, made again."""

import io
import json
import time

import numpy as np
import pytest
from evenhand import AsyncClient, GeneratedImage
from evenhand.errors import (
    DeadlineExceeded,
    IncompleteStream,
    InvalidInput,
    NotFound,
    OutOfRange,
    Overloaded,
    ShapeMismatch,
)
from evenhand.generation.v1 import generation_pb2
from evenhand.pictures import pixels_of_file
from evenhand.records import read_record
from evenhand.resources.v1 import model_pb2
from evenhand.sampling import counterfactual_spec, generation_spec
from PIL import Image

from services import errors as platform
from tests.client.generation_twin import MODELS, STEPS, pixels_of, png_of, record_of


@pytest.fixture(autouse=True)
def generators(twin):
    twin.models |= MODELS


def test_attributes_become_images_a_table_and_files(client, twin, tmp_path):
    operation = client.generations.create(attributes={"sex": "Female", "age": 63}, count=3, seed=7, formats=["npy"])
    progress = operation.metadata
    assert (progress.unit, progress.total, progress.steps_total) == ("images", 3, 12)
    generation = operation.result(10)
    asked = twin.called("CreateGeneration")[0]
    assert asked.spec.model == "models/pelvis"
    assert dict(asked.spec.attributes) == {"sex": "Female", "age": "63"}
    assert (asked.spec.count, asked.spec.seed, list(asked.spec.formats)) == (3, 7, ["npy"])
    np.testing.assert_array_equal(generation.images(), np.stack([pixels_of(index) for index in range(3)]))
    frame = generation.to_pandas()
    assert frame["index"].tolist() == [0, 1, 2]
    assert frame["attribute_sex"].tolist() == ["Female"] * 3
    assert frame["pixels_digest"].nunique() == 3
    paths = generation.download(tmp_path / "images")
    assert {path.name for path in paths} == {"records.jsonl", *(f"image-000{index}.npy" for index in range(3))}
    assert generation.state == "succeeded"


@pytest.mark.parametrize(
    ("arguments", "model"),
    [
        ({"prompt": "normal chest"}, "models/words"),
        ({"prompt": "normal heart", "mask": np.zeros((2, 4, 4), int)}, "models/masked"),
        ({"attributes": {"sex": "Male"}}, "models/pelvis"),
        ({"prompt": "x", "model": "mine"}, "models/mine"),
    ],
)
def test_the_one_model_that_fits_is_found_unless_one_is_named(client, twin, arguments, model):
    client.generations.create(**arguments)
    assert twin.called("CreateGeneration")[0].spec.model == model


def test_with_no_fitting_model_or_several_the_caller_is_asked(client, twin):
    twin.models["models/other"] = model_pb2.Model(name="models/other", task=model_pb2.TASK_TEXT_TO_IMAGE)
    with pytest.raises(InvalidInput, match=r"models/other, models/words|models/words, models/other"):
        client.generations.create("x")
    del twin.models["models/pelvis"]
    with pytest.raises(NotFound, match="class-to-image"):
        client.generations.create(attributes={"sex": "Male"})
    assert not twin.called("CreateGeneration")


def test_every_setting_reaches_the_server():
    spec = generation_spec(
        "a",
        {
            "model": "words",
            "negative_prompt": "b",
            "guidance_scale": 4.0,
            "guidance_interval": (0.1, 0.8),
            "guidance_rescale": 0.7,
            "sampler": "unipc",
            "steps": 12,
            "seed": 2**63 - 1,
            "count": 5,
            "first_index": 2,
            "upscale_model": "larger",
            "upscale_steps": 3,
            "upscale_sampler": "ddim",
            "formats": ["png", "dicom"],
            "mask": np.array([[0, 255]]),
        },
    )
    assert (spec.guidance.scale, spec.guidance.low, spec.guidance.high, spec.guidance.rescale) == (4.0, 0.1, 0.8, 0.7)
    assert (spec.upscale_model, spec.upscale_steps, spec.upscale_sampler) == ("models/larger", 3, "ddim")
    assert (spec.seed, spec.first_index, list(spec.formats)) == (2**63 - 1, 2, ["png", "dicom"])
    assert (list(spec.mask.labels.shape), spec.mask.labels.data) == ([1, 2], b"\x00\xff")


@pytest.mark.parametrize(
    ("settings", "kind", "field"),
    [
        ({"seed": 2**63}, OutOfRange, "seed"),
        ({"steps": 2**31}, OutOfRange, "steps"),
        ({"steps": "many"}, InvalidInput, "steps"),
        ({"stepz": 3}, InvalidInput, "stepz"),
        ({"formats": "png"}, InvalidInput, "formats"),
        ({"guidance_scale": "strong"}, InvalidInput, "guidance_scale"),
        ({"attributes": ["sex"]}, InvalidInput, "attributes"),
        ({"mask": np.zeros((4, 4))}, ShapeMismatch, "mask"),
        ({"mask": np.zeros(4, int)}, ShapeMismatch, "mask"),
        ({"mask": np.full((4, 4), 256)}, OutOfRange, "mask"),
        ({"mask": "nowhere.npy"}, InvalidInput, "nowhere.npy"),
    ],
)
def test_what_cannot_be_sent_is_named_before_it_is(settings, kind, field):
    with pytest.raises(kind) as caught:
        generation_spec("", settings)
    assert caught.value.field == field


def test_a_mask_file_travels_as_it_is(tmp_path):
    (tmp_path / "mask.nii.gz").write_bytes(b"nifti")
    mask = generation_spec("a", {"mask": tmp_path / "mask.nii.gz"}).mask
    assert (mask.file, mask.filename) == (b"nifti", "mask.nii.gz")


def test_a_stream_gives_each_image_as_it_is_done(client, twin):
    twin.step_s = 0.02
    begun = time.monotonic()
    images = client.generations.stream("a", count=3, previews_every=2, seed=5)
    first = next(images)
    assert time.monotonic() - begun < 2
    assert (first.preview, first.step, first.steps, first.record) == (True, 2, STEPS, {})
    rest = list(images)
    assert [image.index for image in rest if not image.preview] == [0, 1, 2]
    np.testing.assert_array_equal(rest[-1].numpy(), pixels_of(2))
    assert rest[-1].record["spec"]["seed"] == "5"


def test_leaving_a_stream_ends_the_work(client, twin):
    twin.step_s = 0.02
    for image in client.generations.stream("a", count=1000):
        assert image.index == 0
        break
    assert twin.left.wait(5)


async def test_the_async_stream_and_leaving_it_are_alike(twin):
    twin.step_s = 0.02
    async with AsyncClient(twin.address) as client:
        images = [image async for image in client.generations.stream("a", count=2)]
        assert [image.index for image in images] == [0, 1]
        stream = client.generations.stream("a", count=1000)
        assert (await anext(stream)).index == 0
        await stream.aclose()
    assert twin.left.wait(5)


async def test_the_async_operations_are_alike(twin, tmp_path):
    async with AsyncClient(twin.address) as client:
        operation = await client.generations.create(attributes={"sex": "Male"}, count=2, formats=["npy"])
        generation = await operation.result(10)
        assert (await generation.images()).shape == (2, 1, 4, 4)
        assert len(await generation.to_pandas()) == 2
        assert len(await generation.download(tmp_path)) == 3
        assert [found.name for found in await client.generations.list()] == [generation.name]
        found = await client.operations.get(operation.name)
        assert (await found.result()).name == generation.name
        counterfactual = await (await client.counterfactuals.create({"age": 30}, {"age": 80}, frames=3)).result(10)
        assert len(await counterfactual.to_pandas()) == 3
        assert await counterfactual.video() == b"moov"
        upscaling = await (await client.upscalings.create(np.zeros((4, 4), np.float32))).result(10)
        assert (await upscaling.image()).shape == (1, 4, 4)
        assert (await client.generations.repeat(record_of(generation_pb2.GenerationSpec(model="m"), 2))).identical
        await client.generations.delete(generation.name)
        with pytest.raises(NotFound):
            await client.generations.get(generation.name)


def test_a_stream_that_fails_or_takes_too_long_says_so(client, twin):
    with pytest.raises(InvalidInput) as caught:
        list(client.generations.stream(attributes={"shoe size": 43}, model="pelvis"))
    assert caught.value.reason == "ATTRIBUTE_UNKNOWN" and "models show" in caught.value.hint
    twin.step_s = 0.2
    with pytest.raises(DeadlineExceeded):
        list(client.generations.stream("a", count=100, timeout=0.5))


def test_an_image_is_made_again_from_any_form_of_its_record(client, twin, tmp_path):
    record = record_of(generation_pb2.GenerationSpec(model="models/pelvis", seed=9, model_digest="p" * 64), 5)
    (tmp_path / "record.json").write_text(json.dumps(record))
    (tmp_path / "image.png").write_bytes(png_of(pixels_of(5), record))
    for source in (record, json.dumps(record), tmp_path / "record.json", str(tmp_path / "image.png")):
        found = client.generations.repeat(source)
        assert found.identical and found.device_then == "cpu"
        np.testing.assert_array_equal(found.image.pixels, pixels_of(5))
    specs = [request.spec for request in twin.called("GenerateImages")]
    assert all(spec == specs[0] for spec in specs)
    assert (specs[0].seed, specs[0].first_index, specs[0].count, specs[0].model_digest) == (9, 5, 1, "p" * 64)
    assert not client.generations.repeat({**record, "pixels_digest": "0" * 64}).identical


def test_a_streamed_image_is_saved_with_its_record_inside(client, tmp_path):
    (image,) = client.generations.stream("a", first_index=5)
    assert client.generations.repeat(image.save(tmp_path / "again" / "image.png")).identical
    np.testing.assert_array_equal(np.load(image.save(tmp_path / "image.npy")), image.pixels)
    with pytest.raises(InvalidInput, match="npy or"):
        image.save(tmp_path / "image.gif")


@pytest.mark.parametrize(
    "content",
    [b"", b"[1]", b"{}", b'{"spec": {"seed": 3}}', b'{"spec": {"model": 3}}', b"\xff\xfe", b'{"spec": 1}'],
)
def test_what_is_no_record_is_refused(tmp_path, content):
    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        read_record(tmp_path / "record.json")
    assert caught.value.reason == "RECORD_INVALID"
    assert str(tmp_path) in caught.value.field


def test_a_file_without_a_record_or_none_at_all_is_named(tmp_path):
    GeneratedImage(0, pixels_of(1), True, 2, 4, {}).save(tmp_path / "plain.png")
    with pytest.raises(InvalidInput, match="carries no record"):
        read_record(tmp_path / "plain.png")
    for name in ("none.json", "none.png"):
        with pytest.raises(InvalidInput, match="cannot read"):
            read_record(tmp_path / name)
    (tmp_path / "broken.png").write_bytes((tmp_path / "plain.png").read_bytes()[:60])
    with pytest.raises(InvalidInput):
        read_record(tmp_path / "broken.png")


def test_pictures_of_colour_and_of_sixteen_bits_are_read():
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(file, "PNG")
    np.testing.assert_array_equal(pixels_of_file(file.getvalue(), "a.png"), np.array([[[0, 1]]], np.float32))
    colour = GeneratedImage(0, np.eye(3, dtype=np.float32)[:, :, None], False, 1, 1, {})
    np.testing.assert_array_equal(pixels_of_file(colour._repr_png_(), "a.png"), colour.pixels)
    with pytest.raises(InvalidInput):
        pixels_of_file(b"no image", "a.png")
    with pytest.raises(InvalidInput):
        pixels_of_file(b"no array", "a.npy")


def test_a_counterfactual_is_frames_a_trace_and_a_video(client, twin):
    operation = client.counterfactuals.create(
        {"sex": "Female"}, {"sex": "Male"}, held={"age": 63}, frames=20, classifier_model="reader", both_directions=True
    )
    assert operation.metadata.unit == "frames"
    counterfactual = operation.result(10)
    spec = twin.called("CreateCounterfactual")[0].spec
    assert (dict(spec.source_attributes), dict(spec.target_attributes)) == ({"sex": "Female"}, {"sex": "Male"})
    assert (dict(spec.held_attributes), spec.frames, spec.both_directions) == ({"age": "63"}, 20, True)
    assert (spec.model, spec.classifier_model) == ("models/pelvis", "models/reader")
    assert counterfactual.images().shape == (20, 1, 4, 4)
    assert counterfactual.to_pandas()["distance"].tolist() == pytest.approx(np.linspace(0, 1, 20).tolist())
    assert counterfactual.video() == b"moov"
    assert "exaggerates" in counterfactual.warnings[0]


def test_settings_of_one_kind_are_none_of_another():
    with pytest.raises(InvalidInput) as caught:
        counterfactual_spec({}, {}, {"count": 3})
    assert caught.value.field == "count"


def test_an_upscaling_takes_a_file_or_one_image(client, twin, tmp_path):
    (tmp_path / "scan.dcm").write_bytes(b"dicom")
    made = client.upscalings.create(tmp_path / "scan.dcm", steps=9, tile=64).result(10)
    asked = twin.called("CreateUpscaling")[0]
    assert (asked.image.file, asked.image.filename) == (b"dicom", "scan.dcm")
    assert (asked.spec.model, asked.spec.steps, asked.spec.tile) == ("models/larger", 9, 64)
    np.testing.assert_array_equal(made.image(), pixels_of(8))
    with pytest.raises(ShapeMismatch, match="one image"):
        client.upscalings.create(np.zeros((2, 1, 4, 4), np.float32))


def test_all_three_are_found_again_listed_and_deleted(client):
    generation = client.generations.create("a", display_name="mine").result(10)
    counterfactual = client.counterfactuals.create({"age": 30}, {"age": 40}, frames=2).result(10)
    upscaling = client.upscalings.create(np.zeros((4, 4), np.float32)).result(10)
    for made, room in (
        (generation, client.generations),
        (counterfactual, client.counterfactuals),
        (upscaling, client.upscalings),
    ):
        short = made.name.partition("/")[2]
        assert room.get(short).to_dict()["state"] == "succeeded"
        assert room.list().to_pandas()["name"].tolist() == [made.name]
        assert room.list(model="of-another").to_pandas().empty
        assert made.to_json()["name"] == made.name
        assert made.operation().result().name == made.name
        room.delete(short)
        with pytest.raises(NotFound) as caught:
            room.get(short)
        assert "list" in caught.value.hint


def test_images_that_are_not_there_yet_and_cut_files_are_told_apart(client, twin):
    twin.hold.clear()
    name = client.generations.create("a").metadata.resource
    with pytest.raises(NotFound, match="no images"):
        client.generations.get(name).images()
    twin.hold.set()
    made = client.generations.create("a", formats=["npy"]).result(10)
    twin.cut_after = 0
    with pytest.raises(IncompleteStream):
        made.read("image-0000.npy")
    twin.cut_after, twin.wrong_sha256 = None, True
    with pytest.raises(IncompleteStream, match="sha256"):
        made.images()


def test_a_model_that_makes_images_says_where_to_ask(client):
    for name, room in (("pelvis", "generations"), ("larger", "upscalings")):
        with pytest.raises(InvalidInput, match=room):
            client.models[name].infer(np.zeros((4, 4), np.float32))
    shown = client.models.get("pelvis").to_dict()
    assert shown["conditions"] == {"sex": "Female, Male", "age": "18 to 95"}


def test_a_full_queue_is_told_with_the_time_to_come_back(client, twin):
    twin.failures["GenerateImages"] = [platform.Overloaded("full", retry_after_s=2.0)]
    with pytest.raises(Overloaded) as caught:
        list(client.generations.stream("a"))
    assert caught.value.retry_after_s == 2.0
