"""Images on their way in, tensors on their way out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from evenhand.errors import InvalidInput, ShapeMismatch
from evenhand.resources.v1 import image_pb2

Floats: TypeAlias = NDArray[np.float32]
ImageLike: TypeAlias = NDArray[np.floating] | str | Path | bytes


def image_protos(source: ImageLike) -> tuple[list[image_pb2.Image], bool]:
    """The images of ``source``, and whether it was a batch.

    A path or bytes are one file (DICOM, NIfTI, PNG, TIFF, NPY), decoded by the platform. An array is canonical pixels,
    floating point in [0, 1]: (H, W), (C, H, W), or (N, C, H, W) for a batch.

    Raises:
        ShapeMismatch: an array of other rank or of integers (which have no agreed range: send the file instead).
        InvalidInput: the file cannot be read.
    """
    if isinstance(source, bytes):
        return [image_pb2.Image(file=source)], False
    if isinstance(source, str | Path):
        try:
            return [image_pb2.Image(file=Path(source).read_bytes(), filename=Path(source).name)], False
        except OSError as error:
            raise InvalidInput(f"cannot read the image: {error.strerror}", field=str(source)) from error
    array = np.asarray(source)
    if not np.issubdtype(array.dtype, np.floating):
        hint = "scale it to [0, 1], or send the file, which says what its values mean"
        raise ShapeMismatch(f"pixels are floating point, not {array.dtype}", field="image", hint=hint)
    if array.ndim not in {2, 3, 4}:
        raise ShapeMismatch(
            f"an image is (H, W), (C, H, W) or (N, C, H, W), not {array.ndim}-dimensional", field="image"
        )
    batch = array.ndim == 4
    images = array if batch else array.reshape((1, *((1,) if array.ndim == 2 else ()), *array.shape))
    return [image_pb2.Image(tensor=tensor_proto(image)) for image in images], batch


def tensor_proto(array: NDArray[np.floating]) -> image_pb2.Tensor:
    """Little-endian float32, row-major."""
    return image_pb2.Tensor(shape=array.shape, data=np.ascontiguousarray(array, dtype="<f4").tobytes())


def tensor_array(tensor: image_pb2.Tensor) -> Floats:
    """The inverse of :func:`tensor_proto`."""
    shape = tuple(tensor.shape)
    if len(tensor.data) != 4 * math.prod(shape):
        raise ShapeMismatch(f"a tensor of shape {shape} came with {len(tensor.data)} bytes", field="tensor")
    return np.frombuffer(tensor.data, dtype="<f4").reshape(shape).astype(np.float32)
