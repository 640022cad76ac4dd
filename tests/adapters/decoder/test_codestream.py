"""The sizes that codestreams declare, against the codecs' own writers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import get_frame

from services.adapters.decoder.codestream import declared_size


def jpeg(shape):
    file = io.BytesIO()
    Image.fromarray(np.zeros(shape, np.uint8)).save(file, "JPEG")
    return file.getvalue()


def test_jpeg_size_is_found():
    assert declared_size(jpeg((37, 91))) == (37, 91, 1)
    assert declared_size(jpeg((37, 91, 3))) == (37, 91, 3)


@pytest.mark.parametrize("name", ["MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "JPGExtended", "JPEG2000"])
def test_size_in_real_files_is_that_of_their_headers(name):
    dataset = dcmread(Path(pydicom.data.__file__).parent / "test_files" / f"{name}.dcm")
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    assert declared_size(frame) == (dataset.Rows, dataset.Columns, 1)


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_cut_codestream_has_no_size_or_the_right_one(cut):
    assert declared_size(jpeg((37, 91))[:cut]) in (None, (37, 91, 1))


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xff\xff\xff", b"\xff\x4f\xff\x51", b"GIF89a"])
def test_something_else_has_no_size(data):
    assert declared_size(data) is None
