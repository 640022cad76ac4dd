import io

import numpy as np
import pytest
from PIL import Image

from services.adapters.encoder import read_png_record
from services.errors import InvalidInput, NonFinite, OutOfRange, ShapeMismatch
from services.generator.report import difference_map
from services.generator.report.difference import colour_limit, coloured


def picture(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_brighter_is_orange_darker_is_blue_and_what_stays_is_grey(ends, record):
    shown = picture(difference_map(*ends, record))
    brighter, darker, still = shown[12 * 16, 8 * 16], shown[12 * 16, 24 * 16], shown[24 * 16, 16 * 16]
    assert brighter[0] > brighter[2] + 100
    assert darker[2] > darker[0] + 80
    assert np.ptp(still) <= 1


def test_colours_turn_round_when_the_ends_change_places(ends, record):
    first, last = ends
    there, back = picture(difference_map(first, last, record)), picture(difference_map(last, first, record))
    assert there[12 * 16, 8 * 16, 0] > there[12 * 16, 8 * 16, 2]
    assert back[12 * 16, 8 * 16, 0] < back[12 * 16, 8 * 16, 2]


def test_opacity_grows_with_the_difference_and_the_grey_shows_through_where_there_is_none():
    grey = np.full((1, 5), 0.5)
    shown = coloured(np.array([[-0.2, -0.1, 0.0, 0.1, 0.2]]), grey, 0.2).astype(int)
    assert np.ptp(shown[0, 2]) == 0
    spread = np.abs(shown[0, :, 0] - shown[0, :, 2])
    assert spread[0] > spread[1] > spread[2] < spread[3] < spread[4]


@pytest.mark.parametrize(("size", "limit"), [(0.3, 0.3), (0.21, 0.3), (0.0, 0.01), (0.062, 0.075)])
def test_limit_is_a_round_number_at_or_above_the_differences(size, limit):
    assert colour_limit(np.full((1, 8, 8), size, np.float32)) == pytest.approx(limit)


def test_small_pictures_are_enlarged_and_the_strip_stands_below(ends, record):
    height, width, _ = picture(difference_map(*ends, record)).shape
    assert height > 512
    assert width > 512 + 100


def test_scale_bar_is_as_long_as_it_says(ends, record):
    bare, barred = (picture(difference_map(*ends, record, spacing=spacing)) for spacing in (None, (10.0, 10.0)))
    changed = (bare != barred).any(axis=-1)
    white = changed[512 - 16 : 512 - 12] & (barred[512 - 16 : 512 - 12] == 255).all(axis=-1)
    # 512 pixels are 32 of 10 mm; the bar is the round length above a sixth of 320 mm.
    assert white[0].sum() == round(75 / (10 / 16))


def test_a_pair_gets_a_panel_for_each_plane_that_says_something_new(ends, record):
    first, last = ends
    pair = np.concatenate([first, last, first]), np.concatenate([last, first, last])
    one, two = picture(difference_map(first, last, record)), picture(difference_map(*pair, record, planes=("ED", "ES")))
    assert two.shape[1] == one.shape[1] + 512 + 12


def test_record_is_inside_and_bytes_are_the_same_again(ends, record):
    data = difference_map(*ends, record)
    assert read_png_record(data) == record
    assert difference_map(*ends, record) == data


@pytest.mark.parametrize(
    ("change", "error", "field"),
    [
        ({"last": np.zeros((1, 32, 31), np.float32)}, ShapeMismatch, "last"),
        ({"first": np.full((1, 32, 32), np.nan, np.float32)}, NonFinite, "first"),
        ({"last": np.full((1, 32, 32), 2, np.float32)}, OutOfRange, "last"),
        ({"limit": 0.0}, OutOfRange, "limit"),
        ({"limit": np.nan}, OutOfRange, "limit"),
        ({"spacing": (1.0, -1.0)}, OutOfRange, "spacing"),
        ({"planes": ("ED", "ES")}, ShapeMismatch, "planes"),
    ],
)
def test_bad_input_is_refused_by_field(ends, record, change, error, field):
    with pytest.raises(error) as caught:
        difference_map(**{"first": ends[0], "last": ends[1], "record": record} | change)
    assert isinstance(caught.value, InvalidInput)
    assert caught.value.field == field
