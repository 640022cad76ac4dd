"""Where artifacts live: one protocol, three stores that pass the same contract tests.

``memory`` for tests, ``directory`` as the embedded default, ``s3`` for any server that speaks S3.
"""

from .content import ObjectRef, ObjectStore, content_key
from .directory import DirectoryStore
from .location import open_object_store
from .memory import MemoryStore
from .s3 import S3Store

__all__ = [
    "DirectoryStore",
    "MemoryStore",
    "ObjectRef",
    "ObjectStore",
    "S3Store",
    "content_key",
    "open_object_store",
]
