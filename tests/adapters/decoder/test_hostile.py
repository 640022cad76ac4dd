"""Malformed files: each gets a refusal with a reason, none an error of ours, and the worker is as good as before."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pydicom.data
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from services.adapters.decoder import Decoded, InMemory, Source
from services.errors import InvalidInput

CARRIED = Path(pydicom.data.__file__).parent / "test_files"
RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8)


def encoded(array, kind):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


GREY = RAMP.astype(np.uint8)
SEEDS = {
    "native.dcm": (CARRIED / "MR_small.dcm").read_bytes(),
    "rle.dcm": (CARRIED / "MR_small_RLE.dcm").read_bytes(),
    "j2k.dcm": (CARRIED / "MR_small_jp2klossless.dcm").read_bytes(),
    "jls.dcm": (CARRIED / "MR_small_jpeg_ls_lossless.dcm").read_bytes(),
    "deflated.dcm": (CARRIED / "image_dfl.dcm").read_bytes(),
    "volume.nii": nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.eye(4)).to_bytes(),
    "grey.png": encoded(GREY, "PNG"),
    "grey.tif": encoded(GREY, "TIFF"),
    "grey.jpg": encoded(GREY, "JPEG"),
    "unit.npy": npy(GREY / 255),
}


@pytest.mark.parametrize("name", SEEDS)
def test_file_cut_anywhere_is_refused_or_read_whole(decoder, name):
    data = SEEDS[name]
    cuts = sorted({*range(0, min(len(data), 400), 37), *np.linspace(0, len(data) - 1, 12).astype(int)})
    for outcome in decoder.decode_many(Source(InMemory(name, data[:cut])) for cut in cuts):
        if not isinstance(outcome, Decoded):
            assert isinstance(outcome.error, InvalidInput), (name, cuts[outcome.source], outcome.error)


@pytest.mark.parametrize("name", SEEDS)
def test_flipped_bytes_never_give_more_than_a_refusal(decoder, name):
    rng = np.random.default_rng(list(name.encode()))

    def mutants():
        for _ in range(25):
            data = bytearray(SEEDS[name])
            for _ in range(rng.integers(1, 6)):
                data[rng.integers(0, min(len(data), 2000))] = rng.integers(0, 256)
            yield Source(InMemory(name, bytes(data)))

    for outcome in decoder.decode_many(mutants()):
        if isinstance(outcome, Decoded):
            assert np.isfinite(outcome.pixels).all() and outcome.pixels.min() >= 0 and outcome.pixels.max() <= 1
        else:
            assert isinstance(outcome.error, InvalidInput) and outcome.error.field == name


def test_empty_file_is_refused(reason_of):
    assert reason_of(Source(InMemory("a.dcm", b""))) == "FILE_EMPTY"


@pytest.mark.parametrize("name", ["a.dcm", "a.nii", "a.nii.gz", "A.NPY"])
def test_name_that_says_another_kind_is_refused(reason_of, name):
    assert reason_of(Source(InMemory(name, SEEDS["grey.png"]))) == "CONTENT_NOT_AS_NAMED"


def test_content_decides_where_the_name_says_nothing(decoder):
    for data in SEEDS.values():
        assert decoder.decode(Source(InMemory("IM000001", data)))[0].pixels.ndim == 3


@pytest.mark.parametrize(("start", "reason"), [(b"PK\x03\x04", "ARCHIVE_REFUSED"), (b"\x80\x04", "PICKLE_REFUSED")])
def test_archives_and_pickles_are_refused(reason_of, start, reason):
    assert reason_of(Source(InMemory("a.dcm", start + bytes(200)))) == reason


def test_text_called_dicom_is_refused(reason_of):
    assert reason_of(Source(InMemory("a.dcm", b"to whom it may concern " * 50))) != ""


def test_deflate_bomb_is_refused(reason_of, dicom_bytes):
    deflated = dicom_bytes(RAMP, DeflatedExplicitVRLittleEndian)
    start = deflated.index(b"1.2.840.10008.1.2.1.99") + 22
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = deflated[:start] + deflater.compress(bytes(300 * 1024 * 1024)) + deflater.flush()
    assert len(bomb) < 1024 * 1024
    assert reason_of(Source(InMemory("a.dcm", bomb))) == "DECODED_SIZE_OVER_LIMIT"


def test_sequences_nested_a_hundred_thousand_deep_are_refused(reason_of, dicom_bytes):
    head = dicom_bytes(RAMP)[: dicom_bytes(RAMP).index(struct.pack("<2H", 0x0008, 0x0016))]
    item = struct.pack("<2H2s2xI", 0x0008, 0x1140, b"SQ", 0xFFFFFFFF) + struct.pack("<2HI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    assert reason_of(Source(InMemory("a.dcm", head + item * 100_000))) == "NESTED_TOO_DEEPLY"


def test_codestream_larger_than_its_header_is_refused_before_a_codec_sees_it(reason_of, dicom_bytes):
    dataset = dcmread(CARRIED / "MR_small_jp2klossless.dcm")
    codestream = bytearray(dataset.PixelData[dataset.PixelData.index(b"\xff\x4f\xff\x51") :])
    struct.pack_into(">2I", codestream, 8, 65535, 65535)
    dataset.PixelData = encapsulate([bytes(codestream)])
    file = io.BytesIO()
    dataset.save_as(file)
    assert dataset.file_meta.TransferSyntaxUID == JPEG2000Lossless
    assert reason_of(Source(InMemory("a.dcm", file.getvalue()))) == "SIZE_NOT_AS_DECLARED"


def test_run_lengths_that_outgrow_the_frame_are_refused(reason_of):
    dataset = dcmread(CARRIED / "MR_small_RLE.dcm")
    assert dataset.file_meta.TransferSyntaxUID == RLELossless
    segment = b"\x81\x00" * 2_000_000  # each pair becomes 128 zeros
    header = struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13)
    dataset.PixelData = encapsulate([header + segment + segment])
    file = io.BytesIO()
    dataset.save_as(file)
    assert reason_of(Source(InMemory("a.dcm", file.getvalue()))) == "SIZE_NOT_AS_DECLARED"


def test_fragment_table_that_points_nowhere_is_refused(reason_of):
    dataset = dcmread(CARRIED / "MR_small_RLE.dcm")
    dataset.ExtendedOffsetTable = struct.pack("<Q", 2**60)
    dataset.ExtendedOffsetTableLengths = struct.pack("<Q", 2**60)
    file = io.BytesIO()
    dataset.save_as(file)
    assert reason_of(Source(InMemory("a.dcm", file.getvalue()))) in ("FILE_UNDECODABLE", "SIZE_NOT_AS_DECLARED")


def test_refusal_never_quotes_the_file(decoder):
    canary = b"DOE^JANE^CANARY"
    for name, data in SEEDS.items():
        spoiled = data[:200] + canary + data[200 + len(canary) : len(data) // 2]
        for outcome in decoder.decode_many([Source(InMemory(name, spoiled))]):
            assert isinstance(outcome, Decoded) or "CANARY" not in outcome.error.message
