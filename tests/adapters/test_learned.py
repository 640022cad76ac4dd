"""The list of those whom a model learned from: written, read again, and refused where it is none."""

from __future__ import annotations

import json

import pytest

from services.adapters.learned import learned, learned_json, read_learned
from services.errors import Internal

SALT = "0123456789abcdef" * 4


def test_lists_come_back_as_they_were_and_know_their_patients() -> None:
    lists = (learned("a@2", ["p1", "p2"], salt=SALT), learned("a@1", ["p3"], salt="f" * 64))
    read = read_learned(learned_json(lists))
    assert read == lists
    assert [one.shared(["p0", "p2", "p3"]) for one in read] == [{"p2"}, {"p3"}]


@pytest.mark.parametrize("salt", ["", "ab", "z" * 64, "ab" * 31 + "a ", " " * 64, "a" * 65, 7, None])
def test_a_salt_that_is_no_sha256_makes_the_file_unreadable(salt: object) -> None:
    file = {"schema_version": 1, "learned": [{"model": "a@1", "salt": salt, "hashes": []}]}
    with pytest.raises(Internal) as caught:
        read_learned(json.dumps(file).encode())
    assert caught.value.reason == "LEARNED_FROM_UNREADABLE"
