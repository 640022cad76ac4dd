import numpy as np
import pytest
from evenhand import AsyncClient
from evenhand.errors import InvalidInput, NotFound, ShapeMismatch
from evenhand.images import image_protos, tensor_array, tensor_proto

GREY = np.full((1, 4, 4), 0.5, np.float32)


def test_a_classifier_gives_probabilities_thresholds_and_decisions(client):
    prediction = client.models["chest-classifier"].infer(GREY)
    assert prediction.numpy().shape == (2,)
    frame = prediction.to_pandas().set_index("label")
    assert list(frame["positive"]) == [True, False]
    assert list(frame["threshold"]) == [0.25, 0.75]
    assert frame["probability"].dtype == "float64"
    assert "Edema" in prediction._repr_html_()


def test_a_reconstruction_gives_pixels_bit_by_bit(client):
    image = np.random.default_rng(1).random((1, 5, 7), np.float32)
    prediction = client.models["xray-unet"].infer(image)
    np.testing.assert_array_equal(prediction.numpy(), 1 - image)
    assert list(prediction.to_pandas().columns) == ["image", "channel", "minimum", "mean", "maximum"]


def test_a_segmenter_gives_a_mask_with_its_structures_names(client):
    prediction = client.models["tumour-segmenter"].infer(GREY)
    assert prediction.numpy().shape == (1, 4, 4)
    assert list(prediction.to_pandas()["channel"]) == ["tumour"]


@pytest.mark.parametrize(("shape", "sent"), [((4, 5), (1, 4, 5)), ((3, 4, 5), (3, 4, 5))])
def test_one_image_may_lack_its_channel_axis(client, twin, shape, sent):
    client.models["xray-unet"].infer(np.zeros(shape, np.float64))
    assert tuple(twin.called("CreateReconstruction")[0].image.tensor.shape) == sent


def test_a_batch_keeps_its_order(client):
    batch = np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1) / 10
    prediction = client.models["chest-classifier"].infer(batch)
    np.testing.assert_allclose(prediction.numpy()[:, 0], batch.ravel())
    assert list(prediction.to_pandas()["image"]) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


async def test_the_async_twin_sends_a_batch_side_by_side_within_bounds(twin):
    batch = np.arange(40, dtype=np.float32).reshape(40, 1, 1, 1) / 100
    async with AsyncClient(twin.address) as client:
        prediction = await client.models["chest-classifier"].infer(batch)
    np.testing.assert_allclose(prediction.numpy()[:, 0], batch.ravel())
    assert 1 < twin.most_at_once <= 16


async def test_one_refused_image_fails_the_async_batch(twin):
    from services.errors import NonFinite

    twin.failures["CreateClassification"] = [NonFinite("pixel 3 is NaN", field="image")]
    async with AsyncClient(twin.address) as client:
        with pytest.raises(InvalidInput, match="NaN"):
            await client.models["chest-classifier"].infer(np.zeros((4, 1, 2, 2), np.float32))


def test_a_file_is_sent_as_it_is(client, twin, tmp_path):
    (tmp_path / "scan.dcm").write_bytes(b"DICM...")
    client.models["chest-classifier"].infer(tmp_path / "scan.dcm")
    sent = twin.called("CreateClassification")[0].image
    assert (sent.file, sent.filename) == (b"DICM...", "scan.dcm")


def test_integers_and_odd_ranks_are_refused_before_sending():
    with pytest.raises(ShapeMismatch, match="uint8") as caught:
        image_protos(np.zeros((4, 4), np.uint8))
    assert "[0, 1]" in caught.value.hint
    for shape in ((4,), (1, 1, 1, 4, 4)):
        with pytest.raises(ShapeMismatch):
            image_protos(np.zeros(shape))
    with pytest.raises(InvalidInput, match="cannot read"):
        image_protos("no/such/file.dcm")


def test_an_empty_batch_and_an_unknown_model_are_refused(client):
    with pytest.raises(InvalidInput):
        client.models["chest-classifier"].infer(np.zeros((0, 1, 4, 4)))
    with pytest.raises(NotFound):
        client.models["none"].infer(GREY)


def test_tensors_travel_as_little_endian_float32_whatever_their_layout():
    array = np.asfortranarray(np.random.default_rng(2).random((2, 3, 4)).astype(">f8"))[:, ::-1]
    back = tensor_array(tensor_proto(array))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, array, rtol=1e-6)
    lying = tensor_proto(array)
    lying.shape[0] = 9
    with pytest.raises(ShapeMismatch):
        tensor_array(lying)


def test_models_are_listed_by_name_with_their_task(client):
    frame = client.models.list().to_pandas()
    assert list(frame["task"]) == ["classification", "segmentation", "reconstruction"]
    assert client.models["xray-unet"].describe().to_dict()["family"] == "unet"
