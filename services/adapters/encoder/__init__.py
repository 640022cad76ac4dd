"""From canonical pixels to files that say what they are: synthetic, and made by which model from which seed.

PNG (:mod:`.png`), NPY (:mod:`.npy`), DICOM (:mod:`.dicom`) and H.264 in MP4 (:mod:`.video`). Each but NPY, which has
no room for it, carries the whole *record*: the JSON object from which the image can be made again (:mod:`.record`).
The same pixels and the same record give the same bytes; nothing here reads a clock or draws a number.
:mod:`.lettering` writes words into pictures.
"""

from .dicom import dicom_bytes, read_dicom_record
from .npy import npy_bytes
from .png import picture_bytes, png_bytes, read_png_record
from .record import record_digest
from .video import VideoWriter, read_video_record

__all__ = [
    "VideoWriter",
    "dicom_bytes",
    "npy_bytes",
    "picture_bytes",
    "png_bytes",
    "read_dicom_record",
    "read_png_record",
    "read_video_record",
    "record_digest",
]
