import io
import json
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from services.errors import InvalidInput, OutOfRange, ShapeMismatch
from services.generator.report import Trace, trace_csv, trace_parquet, trace_svg, trace_table

FRAMES = 181
SVG = "{http://www.w3.org/2000/svg}"


def test_table_has_a_row_a_frame_with_features_and_probabilities(trace):
    table = trace_table(trace)
    assert list(table.columns) == ["frame", "position", "distance", "neck_angle", "grade", "probability: race Black"]
    assert list(table["frame"]) == list(range(FRAMES))
    assert (table["position"].iloc[0], table["position"].iloc[-1]) == (0.0, 1.0)


def test_csv_reads_back_to_the_bit_with_empty_cells_where_nothing_was_measured(trace):
    data = trace_csv(trace)
    assert b"\r" not in data
    pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(data)), trace_table(trace), check_exact=True)
    assert data.decode().splitlines()[61].split(",")[4] == ""


def test_parquet_has_units_and_the_record(trace, record):
    data = trace_parquet(trace, record)
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(data)), trace_table(trace), check_exact=True)
    schema = pq.read_schema(io.BytesIO(data))
    assert schema.field("distance").metadata[b"unit"] == b"half-widths"
    assert schema.metadata[b"Synthetic"] == b"YES"
    assert json.loads(schema.metadata[b"record"]) == record
    assert trace_parquet(trace, record) == data


@pytest.mark.parametrize(
    ("features", "probabilities", "error", "field"),
    [
        ({"a": [1, 2], "b": [1]}, {}, ShapeMismatch, "trace"),
        ({}, {}, ShapeMismatch, "trace"),
        ({"a": []}, {}, ShapeMismatch, "trace"),
        ({"a": [[1, 2]]}, {}, ShapeMismatch, "features.a"),
        ({"a": [1, np.inf]}, {}, OutOfRange, "features.a"),
        ({"a": [1, 2]}, {"b": [0, 1.2]}, OutOfRange, "probabilities.b"),
        ({"frame": [1, 2]}, {}, InvalidInput, "features.frame"),
    ],
)
def test_bad_columns_are_refused_by_name(features, probabilities, error, field):
    with pytest.raises(error) as caught:
        Trace(features, probabilities)
    assert caught.value.field == field


def curves(svg):
    """Each panel's polylines as (n, 2) arrays of pixels."""
    panels = ElementTree.fromstring(svg).findall(f"{SVG}g")
    return [
        [
            np.array([point.split(",") for point in line.get("points").split()], float)
            for line in panel.iter(f"{SVG}polyline")
        ]
        for panel in panels
    ]


def texts(svg):
    return [node.text or "" for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_figure_has_a_panel_for_each_feature_and_probability_with_names_and_units(trace, spreads):
    svg = trace_svg(trace, spreads=spreads, source="White", target="Black")
    told = " | ".join(texts(svg))
    for words in ("Distance", "half-widths · −1.25 SD", "Neck angle", "P(race Black)", "0 White", "Black 180"):
        assert words in told
    assert len(curves(svg)) == 4


def test_curves_follow_the_values(trace, spreads):
    distance, _, _, chance = curves(trace_svg(trace, spreads=spreads))
    for lines, values in ((distance, trace.feature("distance")), (chance, trace.probability("race Black"))):
        assert len(lines) == 1
        x, y = lines[0].T
        assert np.corrcoef(x, np.arange(FRAMES))[0, 1] > 0.9999
        assert np.corrcoef(y, values)[0, 1] < -0.9999


def test_curve_breaks_where_nothing_was_measured_and_the_panel_says_so(trace, spreads):
    svg = trace_svg(trace, spreads=spreads)
    lines = curves(svg)[2]
    assert [len(line) for line in lines] == [60, FRAMES - 75]
    assert any(f"15 of {FRAMES} not measured" in text for text in texts(svg))


def test_what_hardly_moves_looks_as_if_it_hardly_moved(trace, spreads):
    heights = [np.ptp(lines[0][:, 1]) for lines in curves(trace_svg(trace, spreads=spreads))]
    assert heights[1] < 3
    assert heights[0] > 50


def test_values_that_never_change_and_single_frames_can_be_drawn():
    for values in ([2.0] * 9, [0.0] * 9, [1.5], [np.nan] * 4, [np.nan, 1.0, np.nan]):
        ElementTree.fromstring(trace_svg(Trace({"a": values})))


def test_figure_asks_nothing_of_the_network_and_escapes_names():
    svg = trace_svg(Trace({"<script>&\x00": [1, 2]}), source="<b>", target='"')
    root = ElementTree.fromstring(svg)
    assert "<script>&\ufffd" in " ".join(texts(svg)).lower()
    assert not [node for node in root.iter() if node.tag == "script"]
    assert not [key for node in root.iter() for key in node.attrib if "href" in key]
    assert "url(" not in svg
