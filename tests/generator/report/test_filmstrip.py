import io

import numpy as np
import pytest
from PIL import Image

from services.adapters.encoder import read_png_record
from services.errors import InvalidInput, ShapeMismatch
from services.generator.report import filmstrip, filmstrip_frames


def picture(data):
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("count", "frames"),
    [(180, [0, 45, 90, 134, 179]), (181, [0, 45, 90, 135, 180]), (5, [0, 1, 2, 3, 4]), (3, [0, 1, 2]), (1, [0])],
)
def test_strip_has_first_quarters_and_last_and_no_frame_twice(count, frames):
    assert filmstrip_frames(count) == frames


def test_frames_stand_from_left_to_right_with_their_grey_levels(record):
    frames = [np.full((1, 64, 64), level, np.float32) for level in (0.2, 0.5, 1.0)]
    shown = picture(filmstrip(frames, record, labels=["a", "b", "c"]))
    assert [int(shown[128, k * (256 + 6) + 128, 0]) for k in range(3)] == [51, 128, 255]
    assert shown.shape[1] == 3 * 256 + 2 * 6


def test_a_pair_has_two_rows(record):
    pair = np.stack([np.full((64, 64), level, np.float32) for level in (0.2, 0.8, 0.2)])
    shown = picture(filmstrip([pair, pair], record, labels=["a", "b"]))
    assert (shown[128, 128, 0], shown[256 + 6 + 128, 128, 0]) == (51, 204)


def test_record_is_inside_and_labels_show(record):
    frame = np.zeros((1, 64, 64), np.float32)
    one, other = (filmstrip([frame], record, labels=[label]) for label in ("0", "179 · Black"))
    assert read_png_record(one) == record
    assert (picture(one) != picture(other)).any()


def test_bad_input_is_refused_by_field(record):
    frame = np.zeros((1, 64, 64), np.float32)
    for frames, labels, error, field in (
        ([], [], InvalidInput, "frames"),
        ([frame], [], ShapeMismatch, "labels"),
        ([frame, frame[:, :32]], ["a", "b"], ShapeMismatch, "frames[1]"),
        ([frame, frame + 3], ["a", "b"], InvalidInput, "frames[1]"),
    ):
        with pytest.raises(error) as caught:
            filmstrip(frames, record, labels=labels)
        assert caught.value.field == field
