"""Whom a model learned from, as keyed hashes of patient ids in a file of its package.

Training writes the file, an audit compares it with its cohort: it outlives the training cohort, and goes with the
package to sites that never had that cohort. A package of a version that was fine-tuned from another holds the lists of
both, so that nobody has to find the base.

Each list has a salt of its own, so two lists tell nothing to whoever has neither cohort. But whoever can write down
every id that there may be (eight digits, say) can try them all: the lists are pseudonyms, not anonymous data.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from services.errors import Internal
from services.maths.canonical import canonical_json

FILENAME = "learned_from.json"
SCHEMA_VERSION = 1
_HASH_BYTES = 16
_SALT = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Learned:
    """The training and validation patients of one model: ``model`` is "name@version", ``hashes`` are sorted."""

    model: str
    salt: str
    hashes: tuple[str, ...]

    def shared(self, patients: Collection[str]) -> set[str]:
        """Those of ``patients`` from whom the model learned."""
        known = set(self.hashes)
        return {patient for patient in patients if _hashed(patient, self.salt) in known}


def learned(model: str, patients: Collection[str], *, salt: str) -> Learned:
    """The list of one model. ``salt`` is a sha256 as 64 hex digits, such as the digest of the data."""
    return Learned(model, salt, tuple(sorted({_hashed(patient, salt) for patient in patients})))


def learned_json(lists: Sequence[Learned]) -> bytes:
    """The file: the model's own list first, then those of its base and the base's base."""
    return canonical_json({"schema_version": SCHEMA_VERSION, "learned": [asdict(one) for one in lists]})


def read_learned(data: bytes) -> tuple[Learned, ...]:
    """The inverse of :func:`learned_json`; nothing of no bytes. Internal LEARNED_FROM_UNREADABLE for other files."""
    if not data:
        return ()
    try:
        plain = json.loads(data)
        if plain["schema_version"] != SCHEMA_VERSION:
            raise ValueError(plain["schema_version"])
        lists = tuple(Learned(one["model"], one["salt"], tuple(one["hashes"])) for one in plain["learned"])
        if not all(_SALT.fullmatch(one.salt) for one in lists):
            raise ValueError("a salt is a sha256 as 64 hex digits")
        return lists
    except (ValueError, KeyError, TypeError) as error:
        raise Internal(
            f"a package's {FILENAME} is not one of version {SCHEMA_VERSION}; publish the model anew",
            field=FILENAME,
            reason="LEARNED_FROM_UNREADABLE",
        ) from error


def _hashed(patient: str, salt: str) -> str:
    return hashlib.blake2b(patient.encode(), key=bytes.fromhex(salt), digest_size=_HASH_BYTES).hexdigest()
