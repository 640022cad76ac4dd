"""Shards give back what went in, and the same bytes for the same records."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from services.adapters.object_store import MemoryStore
from services.errors import Internal
from services.hosting.shards import Record, ShardRef, read_shard, write_shard


def records():
    draw = np.random.default_rng(1)
    return [
        Record(
            f"r{n}",
            f"p{n // 2}",
            draw.random((1, 5 + n, 7)).astype(np.float32),
            draw.integers(0, 2, (5 + n, 7)).astype(np.uint8) if n % 2 else None,
            {"sex": ("Female", None, "Male")[n % 3], "age": None},
            {"Edema": (1, 0, None)[n % 3], "Fracture": None},
            split=None if n == 0 else "test",
            spacing=(0.5, 0.25) if n else None,
            modality="CR",
        )
        for n in range(4)
    ]


def test_everything_comes_back():
    store, rows = MemoryStore(), records()
    ref = write_shard(store, rows, index=3)
    shard = read_shard(store, ShardRef.from_dict(ref.to_dict()))
    assert (ref.index, ref.rows) == (3, 4)
    for row, image, mask in zip(rows, shard.images, shard.masks, strict=True):
        np.testing.assert_array_equal(image, row.image)
        assert image.dtype == np.float32
        assert (mask is None) == (row.mask is None)
        if mask is not None:
            np.testing.assert_array_equal(mask, row.mask)
    table = shard.records
    assert list(table.columns) == [
        *("record_id", "patient_id", "split", "modality", "spacing_row_mm", "spacing_column_mm"),
        *("attribute_sex", "attribute_age", "label_Edema", "label_Fracture"),
    ]
    assert table["record_id"].tolist() == ["r0", "r1", "r2", "r3"]
    assert table["label_Edema"].dtype == pd.Int8Dtype() == table["label_Fracture"].dtype
    assert table["label_Edema"].fillna(9).tolist() == [1, 0, 9, 1]
    assert table["attribute_sex"].fillna("?").tolist() == ["Female", "?", "Male", "Female"]
    assert table["attribute_age"].isna().all()
    assert table["split"].fillna("?").tolist() == ["?", "test", "test", "test"]


def test_planes_of_labels_come_back():
    store = MemoryStore()
    planes = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    record = Record("r", "p", np.zeros((3, 3, 4), np.float32), planes, {"sex": None}, {})
    (mask,) = read_shard(store, write_shard(store, [record])).masks
    np.testing.assert_array_equal(mask, planes)
    assert mask.dtype == np.uint8


def test_same_records_give_the_same_bytes():
    assert write_shard(MemoryStore(), records()) == write_shard(MemoryStore(), records())


def test_one_changed_pixel_changes_the_name():
    changed = records()
    changed[2].image[0, 0, 0] += 0.1
    first, second = write_shard(MemoryStore(), records()), write_shard(MemoryStore(), changed)
    assert first.pixels != second.pixels and first.table == second.table


def test_shard_whose_digest_is_not_the_manifests_is_not_read():
    store = MemoryStore()
    plain = write_shard(store, records()).to_dict()
    plain["pixels"]["sha256"] = "0" * 64
    with pytest.raises(Internal):
        read_shard(store, ShardRef.from_dict(plain))
