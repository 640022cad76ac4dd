import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from services.adapters.encoder import VideoWriter, read_video_record, record_digest
from services.adapters.encoder.lettering import STRIP_PAPER, strip_height
from services.errors import InvalidInput, NonFinite, OutOfRange, ShapeMismatch, Undecodable


def encoded(frames, record, fps=30, **keywords):
    file = io.BytesIO()
    height, width = frames[0].shape[1:]
    with VideoWriter(file, width, height, fps, record, **keywords) as writer:
        for k, frame in enumerate(frames):
            writer.add(frame, f"White → Black {k}")
    return file.getvalue()


def decoded(data):
    """Frames (F, H, W, 3) uint8 of an MP4."""
    with av.open(io.BytesIO(data)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def psnr(shown, expected):
    return -10 * np.log10(((shown.astype(float) - expected.astype(float)) ** 2).mean() / 255**2)


def moving(image, channels, height, width, count):
    """A pattern that drifts under still grain, as the frames of one synthetic patient do."""
    still = image(channels, height, width)
    return [np.clip(0.8 * still + 0.2 * np.roll(still, k, axis=2), 0, 1) for k in range(count)]


@pytest.mark.parametrize(("channels", "side"), [(1, 128), (3, 128), (1, 600)])
def test_every_frame_comes_back_in_order_and_close_to_what_went_in(image, record, channels, side):
    frames = moving(image, channels, side, side, 12)
    factor = max(1, -(-512 // side))
    shown = decoded(encoded(frames, record, enlarging="nearest"))
    assert shown.shape == (12, factor * side + strip_height(factor * side), factor * side, 3)
    for k, frame in enumerate(frames):
        large = np.rint(255 * frame).astype(np.uint8).repeat(factor, 1).repeat(factor, 2).transpose(1, 2, 0)
        picture = shown[k, : factor * side]
        # Colour keeps its detail in brightness only: 4:2:0 halves the rest.
        grey = [np.broadcast_to(part, picture.shape).mean(axis=-1) for part in (picture, large)]
        assert psnr(*grey) > 35
        others = [
            psnr(picture.mean(axis=-1), np.rint(255 * other).repeat(factor, 1).repeat(factor, 2).mean(axis=0))
            for j, other in enumerate(frames)
            if j != k
        ]
        assert max(others) < psnr(*grey)


def test_lanczos_shows_the_same_anatomy_smoothly(image, record):
    frame = image(1, 128, 128)
    picture = decoded(encoded([frame], record))[0, :512]
    small = np.asarray(Image.fromarray(picture).convert("L").resize((128, 128), Image.Resampling.BOX))
    assert psnr(small, np.rint(255 * frame[0])) > 35


def test_grey_levels_keep_their_value_from_black_to_white(record):
    ramp = np.tile(np.linspace(0, 1, 512, dtype=np.float32), (512, 1))[None]
    picture = decoded(encoded([ramp] * 3, record))[1, :512]
    assert np.abs(picture.mean(axis=(0, 2)) - 255 * ramp[0, 0]).max() < 3


@pytest.mark.parametrize(("width", "height"), [(127, 125), (125, 128), (513, 601)])
def test_odd_sizes_are_padded_to_even_ones_that_browsers_play(image, record, width, height):
    data = encoded(moving(image, 1, height, width, 2), record)
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        assert (codec.name, codec.pix_fmt, stream.average_rate, stream.frames) == ("h264", "yuv420p", 30, 2)
        assert codec.width % 2 == codec.height % 2 == 0
        assert codec.color_range == av.video.reformatter.ColorRange.MPEG
        assert codec.width >= 512


def test_strip_below_the_picture_says_synthetic_and_hides_nothing(image, record):
    white = np.ones((1, 512, 512), np.float32)
    shown = decoded(encoded([white, white], record))[0]
    assert shown[:510].min() > 245
    below = shown[514:]
    paper = np.abs(below.astype(int) - STRIP_PAPER).max(axis=-1) < 24
    assert 0.5 < paper.mean() < 0.95
    left, right = below[:, :150], below[:, 300:]
    assert left.max() > 200
    assert right.max() > 200
    amber = (left[..., 0].astype(int) - left[..., 2]) > 80
    assert amber.mean() > 0.05


def test_metadata_name_the_record_and_say_synthetic(image, record):
    data = encoded(moving(image, 1, 32, 32, 2), record, title="race White to Black")
    with av.open(io.BytesIO(data)) as container:
        told = dict(container.metadata)
    assert told["title"] == "SYNTHETIC: race White to Black"
    assert told["comment"].startswith("SYNTHETIC")
    assert record_digest(record) in told["comment"]
    assert record["spec"]["model_digest"] in told["description"]
    assert read_video_record(data) == record


def test_two_encodings_are_equal_to_the_byte(image, record):
    frames = moving(image, 1, 64, 64, 40)
    assert encoded(frames, record) == encoded(frames, record)


def test_index_stands_before_the_pictures_so_that_playing_starts_at_once(image, record):
    data = encoded(moving(image, 1, 64, 64, 5), record)
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_path_and_file_get_the_same_bytes(image, record, tmp_path):
    frames = moving(image, 1, 64, 64, 3)
    with VideoWriter(tmp_path / "a.mp4", 64, 64, 30, record) as writer:
        for k, frame in enumerate(frames):
            writer.add(frame, f"White → Black {k}")
    assert (tmp_path / "a.mp4").read_bytes() == encoded(frames, record)


def test_memory_does_not_grow_with_the_number_of_frames(record, tmp_path):
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    frame = np.zeros((1, 512, 512), np.float32)  # plain, so that encoding is quick
    sizes = []
    with VideoWriter(tmp_path / "a.mp4", 512, 512, 60, record) as writer:
        for k in range(181):
            writer.add(frame + np.float32(k / 400))
            if k % 60 == 0:
                sizes.append(resident())
    # A frame is 0.8 MB raw and 0.4 MB as 4:2:0, so 120 frames that were kept would be 47 MB at least.
    assert sizes[3] - sizes[1] < 20e6


def test_a_writer_that_failed_leaves_no_file(image, record, tmp_path):
    with pytest.raises(NonFinite) as caught, VideoWriter(tmp_path / "a.mp4", 64, 64, 30, record) as writer:
        writer.add(image(1, 64, 64))
        writer.add(np.full((1, 64, 64), np.nan, np.float32))
    assert caught.value.field == "frames[1]"
    assert list(tmp_path.iterdir()) == []


def test_video_without_frames_is_refused(record, tmp_path):
    with pytest.raises(InvalidInput) as caught, VideoWriter(tmp_path / "a.mp4", 64, 64, 30, record):
        pass
    assert (caught.value.field, caught.value.reason) == ("frames", "VIDEO_EMPTY")


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (np.zeros((1, 64, 63), np.float32), ShapeMismatch),
        (np.zeros((2, 64, 64), np.float32), ShapeMismatch),
        (np.zeros((64, 64), np.float32), ShapeMismatch),
        (np.full((1, 64, 64), 1.5, np.float32), OutOfRange),
    ],
)
def test_frame_of_another_shape_or_range_is_refused_by_its_number(record, frame, error):
    frame[..., 0] = 0.5 if frame.ndim == 3 and error is ShapeMismatch else frame[..., 0]
    with pytest.raises(error) as caught, VideoWriter(io.BytesIO(), 64, 64, 30, record) as writer:
        writer.add(frame)
    assert caught.value.field == "frames[0]"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"width": 0}, "width"),
        ({"height": 5000}, "width"),
        ({"fps": 0}, "fps"),
        ({"fps": 500}, "fps"),
        ({"enlarging": "magic"}, "enlarging"),
    ],
)
def test_impossible_settings_are_refused_by_name(record, settings, field):
    possible = {"width": 64, "height": 64, "fps": 30}
    with pytest.raises(InvalidInput) as caught:
        VideoWriter(io.BytesIO(), record=record, **possible | settings)
    assert caught.value.field == field


def test_record_that_cannot_make_the_video_again_is_refused(record):
    del record["spec"]["seed"]
    with pytest.raises(InvalidInput) as caught:
        VideoWriter(io.BytesIO(), 64, 64, 30, record)
    assert caught.value.field == "record.spec.seed"


@pytest.mark.parametrize("data", [b"", b"no video", b"\0\0\0\x18ftypmp42" + b"\0" * 12])
def test_file_that_is_no_video_of_ours_is_refused(data):
    with pytest.raises(Undecodable):
        read_video_record(data)
