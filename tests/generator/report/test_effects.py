import numpy as np
import pytest

from services.errors import InvalidInput, OutOfRange
from services.generator.report import Trace, Unguided, effects, excesses
from services.generator.report.effects import crossing


def test_effect_is_last_minus_first_and_stands_beside_the_cohorts_spread(trace, spreads):
    distance, angle, grade = effects(trace, spreads)
    assert (distance.first, distance.last) == (pytest.approx(0.84), pytest.approx(0.79))
    assert distance.change == pytest.approx(-0.05)
    assert distance.in_sd == pytest.approx(-1.25)
    assert distance.unit == "half-widths"
    assert angle.in_sd == pytest.approx(0.1 / 6)
    assert (grade.missing, distance.missing) == (15, 0)


def test_order_is_one_for_a_monotone_path_and_near_zero_for_noise():
    noise = np.random.default_rng(0).normal(size=400)
    rising, falling, flat, random = effects(
        Trace({"a": np.arange(400) ** 3, "b": -np.arange(400), "c": np.ones(400), "d": noise})
    )
    assert (rising.order, falling.order, flat.order) == (pytest.approx(1), pytest.approx(-1), None)
    assert abs(random.order) < 0.15


def test_without_a_spread_or_a_measured_end_there_is_no_change_in_sd():
    known, lost = effects(Trace({"a": [1.0, 2.0], "b": [np.nan, 2.0]}), {"b": 1.0})
    assert (known.change, known.in_sd) == (1.0, None)
    assert (lost.first, lost.change, lost.in_sd) == (None, None, None)


@pytest.mark.parametrize("spread", [0.0, -1.0, np.nan])
def test_spread_that_is_none_is_refused(spread):
    with pytest.raises(OutOfRange) as caught:
        effects(Trace({"a": [1.0, 2.0]}), {"a": spread})
    assert caught.value.field == "spreads.a"


def test_excess_is_divided_between_the_ends_as_it_was_planted(trace, unguided):
    distance, angle, grade = excesses(trace, unguided)
    assert (distance.unguided, distance.used) == (pytest.approx(-0.04), pytest.approx(-0.05))
    assert distance.ratio == pytest.approx(1.25)
    assert (distance.first_moved, distance.last_moved) == (pytest.approx(0, abs=1e-12), pytest.approx(-0.01))
    assert distance.minority_part == pytest.approx(1.0)
    assert angle.minority_part == pytest.approx(1.0)
    assert grade.minority_part is None


def test_minority_at_the_first_end_bears_what_moved_there():
    trace = Trace({"a": [-0.3, 1.1]})
    (excess,) = excesses(trace, Unguided({"a": 0.0}, {"a": 1.0}, "first", 0.02))
    assert excess.minority_part == pytest.approx(0.75)
    (unknown,) = excesses(trace, Unguided({"a": 0.0}, {"a": 1.0}))
    assert unknown.minority_part is None


def test_published_figures_of_a_two_percent_minority_come_out():
    """Shift 0.2988 at scale 1 and 0.374 at scale 4; +0.073 on the minority side, −0.002 on the other."""
    (excess,) = excesses(Trace({"a": [-0.002, 0.3718]}), Unguided({"a": 0.0}, {"a": 0.2988}, "last", 0.02))
    assert excess.ratio == pytest.approx(1.25, abs=0.005)
    assert excess.minority_part == pytest.approx(0.073 / 0.075, abs=0.01)


def test_features_without_an_unguided_reading_are_left_out(trace):
    assert [e.feature for e in excesses(trace, Unguided({"distance": 1.0}, {"distance": 1.0, "grade": 2.0}))] == [
        "distance"
    ]


@pytest.mark.parametrize(
    ("minority", "share", "field"), [("middle", None, "minority"), ("last", 1.2, "minority_share")]
)
def test_impossible_minority_is_refused(minority, share, field):
    with pytest.raises(InvalidInput) as caught:
        Unguided({}, {}, minority, share)
    assert caught.value.field == f"unguided.{field}"


@pytest.mark.parametrize(
    ("values", "frame"),
    [([0.1, 0.4, 0.6, 0.9], 2), ([0.9, 0.4], 1), ([0.1, 0.2], None), ([0.9, np.nan, 0.3], 2), ([np.nan, 0.9], None)],
)
def test_crossing_is_the_first_frame_on_the_other_side_of_one_half(values, frame):
    assert crossing(np.array(values)) == frame
