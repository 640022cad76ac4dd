"""From real files to a manifest: digests, refusals, cancelling, and the two published layouts."""

from __future__ import annotations

import gzip
import io
import os
import threading
import time
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from services.adapters.object_store import MemoryStore
from services.audit.cohort import ingest as ingest_module
from services.audit.cohort.schema import load_schema
from services.errors import Cancelled, FailedPrecondition, InvalidInput, UnknownLabel
from services.hosting.shards import ShardRef, read_shard
from services.maths.canonical import digest
from services.maths.phantoms import draw_cohort
from services.training.phantom_files import write_phantoms

SCHEMA = load_schema(
    """
    record: id
    patient: patient
    image: file
    attributes:
      - {name: sex, column: sex, levels: [Female, Male], assigned_by: self-report}
      - {name: age, column: age, cuts: [50]}
    labels: [Edema]
    """
)
ROWS = 23

# One decode process is enough for these few files, and starting one takes most of a test's time.
ingest = partial(ingest_module.ingest, workers=1)


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def pixels_of(number):
    return np.random.default_rng(number).integers(0, 256, (6, 8)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n in range(ROWS):
        (tmp_path / f"{n}.png").write_bytes(png(pixels_of(n)))
    return tmp_path


def table(*, spoil=None):
    lines = ["id,patient,file,sex,age,Edema"]
    for n in range(ROWS):
        file = (spoil or {}).get(n, f"{n}.png")
        lines.append(f"r{n},p{n // 3},{file},{('Female', 'Male', '')[n % 3]},{30 + 2 * n},{('1', '0', '-1')[n % 3]}")
    return "\n".join(lines) + "\n"


def records_of(store, manifest):
    shards = [read_shard(store, ShardRef.from_dict(plain)) for plain in manifest["shards"]]
    return [record for shard in shards for record in shard.records["record_id"]], [i for s in shards for i in s.images]


def test_manifest_counts_what_the_shards_hold(folder):
    store = MemoryStore()
    manifest = ingest(folder, table(), SCHEMA, store, rows_per_shard=10)
    names, images = records_of(store, manifest)
    assert names == [f"r{n}" for n in range(ROWS)]
    for n, image in enumerate(images):
        np.testing.assert_allclose(image[0], pixels_of(n) / 255, atol=1e-7)
    assert [shard["rows"] for shard in manifest["shards"]] == [10, 10, 3]
    assert (manifest["records"], manifest["patients"], manifest["refused"], manifest["has_masks"]) == (23, 8, [], False)
    assert manifest["attributes"] == [
        {
            "name": "sex",
            "levels": [
                {"level": "Female", "records": 8, "patients": 8},
                {"level": "Male", "records": 8, "patients": 8},
            ],
            "missing": 7,
            "assigned_by": "self-report",
        },
        {
            "name": "age",
            "levels": [
                {"level": "under 50", "records": 10, "patients": 4},
                {"level": "50 and over", "records": 13, "patients": 5},
            ],
            "missing": 0,
            "assigned_by": "record",
        },
    ]
    assert manifest["labels"] == [{"name": "Edema", "positives": 8, "negatives": 8, "missing": 7}]
    assert manifest["digest"] == digest(manifest, without=("digest", "display_name"))


def test_digest_depends_on_the_input_alone(folder, tmp_path_factory):
    first_store, again_store = MemoryStore(), MemoryStore()
    first = ingest(folder, table(), SCHEMA, first_store, rows_per_shard=10, workers=1)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for n in reversed(range(ROWS)):  # another folder, listed in another order
        (elsewhere / f"{n}.png").write_bytes((folder / f"{n}.png").read_bytes())
    again = ingest(elsewhere, table(), SCHEMA, again_store, rows_per_shard=10, workers=2)
    assert again == first
    assert sorted(first_store.keys()) == sorted(again_store.keys())
    (elsewhere / "5.png").write_bytes(png(pixels_of(99)))
    assert ingest(elsewhere, table(), SCHEMA, MemoryStore(), rows_per_shard=10)["digest"] != first["digest"]


def test_refused_rows_are_listed_and_nothing_else_is_lost(folder):
    (folder / "text.png").write_bytes(b"not a picture")
    (folder / "cut.png").write_bytes(png(pixels_of(3))[:60])
    (folder / "empty.png").write_bytes(b"")
    (folder / "link.png").symlink_to("/etc/hostname")
    os.mkfifo(folder / "fifo.png")
    spoil = {
        2: "text.png",
        4: "cut.png",
        5: "empty.png",
        8: "link.png",
        9: "fifo.png",
        11: "absent.png",
        12: "../x.png",
    }
    store = MemoryStore()
    manifest = ingest(folder, table(spoil=spoil), SCHEMA, store)
    assert [(entry["row"], entry["file"], entry["reason"]) for entry in manifest["refused"]] == [
        (3, "text.png", "CONTENT_NOT_AS_NAMED"),
        (5, "cut.png", "PIXEL_DATA_BROKEN"),
        (6, "empty.png", "FILE_EMPTY"),
        (9, "link.png", "PATH_NOT_CONFINED"),
        (10, "fifo.png", "NOT_A_FILE"),
        (12, "absent.png", "FILE_NOT_FOUND"),
        (13, "../x.png", "PATH_NOT_CONFINED"),
    ]
    assert all(entry["message"] for entry in manifest["refused"])
    assert records_of(store, manifest)[0] == [f"r{n}" for n in range(ROWS) if n not in spoil]


def test_row_refused_by_the_table_stands_in_order_with_the_others(folder):
    text = table(spoil={0: "absent.png", 7: "absent.png"}).replace("r3,p1,", "r3,,")
    manifest = ingest(folder, text, SCHEMA, MemoryStore())
    assert [(entry["row"], entry["reason"]) for entry in manifest["refused"]] == [
        (1, "FILE_NOT_FOUND"),
        (4, "PATIENT_ID_MISSING"),
        (8, "FILE_NOT_FOUND"),
    ]


def test_cohort_of_refused_rows_only_is_no_cohort(folder):
    store = MemoryStore()
    with pytest.raises(FailedPrecondition) as caught:
        ingest(folder, table(spoil=dict.fromkeys(range(ROWS), "absent.png")), SCHEMA, store)
    assert caught.value.reason == "NO_RECORDS_INGESTED"
    assert "23 rows" in caught.value.message and "FILE_NOT_FOUND" in caught.value.message
    assert list(store.keys()) == []


def test_wrong_table_is_an_error_before_anything_is_stored(folder):
    store = MemoryStore()
    with pytest.raises(UnknownLabel):
        ingest(folder, table().replace(",-1", ",perhaps"), SCHEMA, store)
    assert list(store.keys()) == []


def test_progress_counts_up_to_every_row(folder):
    seen = []
    ingest(
        folder, table(spoil={5: "absent.png"}), SCHEMA, MemoryStore(), on_progress=lambda one: seen.append(dict(one))
    )
    done = [progress["rows_done"] for progress in seen]
    assert done == sorted(done) and done[0] == 1
    assert seen[-1] == {"stage": "writing", "rows_done": 23, "rows_total": 23, "rows_refused": 1}


def test_cancelling_ends_within_a_second(folder):
    stop = threading.Event()
    cancelled_at = []

    def cancel_at_fifth_row(progress):
        if progress["rows_done"] == 5:
            stop.set()
            cancelled_at.append(time.monotonic())
        elif stop.is_set():
            time.sleep(0.05)

    text = table().split("\n")
    many = "\n".join([text[0], *(f"x{n},p,0.png,Male,30,1" for n in range(2000))])
    with pytest.raises(Cancelled):
        ingest(folder, many, SCHEMA, MemoryStore(), on_progress=cancel_at_fifth_row, cancelled=stop.is_set)
    assert time.monotonic() - cancelled_at[0] < 5  # it takes 0.3 s; all rows would take minutes


def test_large_images_make_smaller_shards(folder, monkeypatch):
    monkeypatch.setattr(ingest_module, "MOST_SHARD_BYTES", 5 * 6 * 8 * 4)
    manifest = ingest(folder, table(), SCHEMA, MemoryStore())
    assert [shard["rows"] for shard in manifest["shards"]] == [5, 5, 5, 5, 3]


def test_table_in_the_folder_is_found_by_its_name(folder):
    (folder / "rows.csv").write_text(table(), "utf-8")
    assert ingest(folder, None, SCHEMA, MemoryStore()) == ingest(folder, table(), SCHEMA, MemoryStore())


@pytest.mark.parametrize("extra", [[], ["a.csv", "b.csv"]])
def test_folder_without_the_one_table_is_refused(folder, extra):
    for name in extra:
        (folder / name).write_text(table(), "utf-8")
    with pytest.raises(InvalidInput) as caught:
        ingest(folder, None, SCHEMA, MemoryStore())
    assert caught.value.reason == "TABLE_NOT_FOUND"


@pytest.mark.parametrize("kind", ["chest", "brain"])
def test_phantoms_come_back_as_they_were_drawn(tmp_path, kind):
    write_phantoms(kind, "planted", 5, 7, tmp_path)
    drawn = draw_cohort(kind, "planted", 5, 7)
    store = MemoryStore()
    manifest = ingest(tmp_path, None, load_schema(f"phantom-{kind}"), store)
    names, images = records_of(store, manifest)
    assert names == drawn.table["record_id"].tolist()
    assert manifest["has_masks"] == (kind == "brain") and manifest["refused"] == []
    assert manifest["modality"] == {"chest": "CR", "brain": "MR"}[kind]
    for image, original in zip(images, drawn.images, strict=True):
        span = original.min(), original.max()  # NIfTI slices are shown from their own minimum to their maximum
        expected = original if kind == "chest" else (original - span[0]) / (span[1] - span[0])
        np.testing.assert_allclose(image, expected, atol=1e-4)
    (shard,) = (read_shard(store, ShardRef.from_dict(plain)) for plain in manifest["shards"])
    if kind == "brain":
        np.testing.assert_array_equal(np.stack(shard.masks), drawn.masks)
    label = "Edema" if kind == "chest" else "glioblastoma"
    assert shard.records[f"label_{label}"].fillna(9).tolist() == drawn.table[label].fillna(9).tolist()


def test_hearts_come_with_both_phases_and_their_labels(tmp_path):
    write_phantoms("cardiac", "null", 4, 7, tmp_path)
    drawn = draw_cohort("cardiac", "null", 4, 7)
    store = MemoryStore()
    manifest = ingest(tmp_path, None, load_schema("phantom-cardiac"), store)
    assert manifest["mask_labels"] == ["background", "left ventricle", "myocardium", "right ventricle"]
    assert manifest["mask_planes"] == ["ED", "ES"] and manifest["has_masks"] and manifest["refused"] == []
    (shard,) = (read_shard(store, ShardRef.from_dict(plain)) for plain in manifest["shards"])
    np.testing.assert_allclose(np.stack(shard.images), drawn.images, atol=1e-5)  # [ED, ES, ED], as they were drawn
    np.testing.assert_array_equal(np.stack(shard.masks), np.stack([drawn.masks, drawn.es_masks], axis=1))
    written = ingest(tmp_path, None, load_schema((tmp_path / "schema.yaml").read_text("utf-8")), MemoryStore())
    assert written["shards"] == manifest["shards"]


def test_row_whose_mask_has_another_label_is_refused(folder):
    for n in range(ROWS):
        mask = np.full((6, 8), n % 4, np.uint8)
        (folder / f"{n}-mask.png").write_bytes(png(mask if n != 5 else mask.T))
    lines = table().splitlines()
    text = "\n".join([lines[0] + ",mask", *(f"{line},{n}-mask.png" for n, line in enumerate(lines[1:]))])
    declared = SCHEMA.model_dump(mode="json") | {"mask": {"column": "mask"}, "mask_labels": ["none", "a", "b"]}
    manifest = ingest(folder, text, type(SCHEMA).model_validate(declared), MemoryStore())
    reasons = {entry["row"]: (entry["file"], entry["reason"]) for entry in manifest["refused"]}
    expected = {n + 1: (f"{n}-mask.png", "MASK_LABEL_UNKNOWN") for n in range(ROWS) if n % 4 == 3}
    assert reasons == expected | {6: ("5-mask.png", "MASK_MISMATCH")}
    assert (manifest["mask_labels"], manifest["mask_planes"]) == (["none", "a", "b"], ["mask"])


CHEXPERT_LABELS = [label.name for label in load_schema("chexpert").labels]


def test_chexpert_layout_is_read_as_published(tmp_path):
    views = [
        ("train/patient00001/study1/view1_frontal.jpg", "Female", "68", "Frontal", "AP"),
        ("train/patient00001/study2/view1_frontal.jpg", "Female", "69", "Frontal", "PA"),
        ("train/patient00002/study1/view2_lateral.jpg", "Male", "33", "Lateral", ""),
        ("valid/patient00003/study1/view1_frontal.jpg", "Unknown", "80", "Frontal", "AP"),
    ]
    values = [["1.0", "", "-1.0", "0.0"] * 4] * 4
    lines = [",".join(["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_LABELS])]
    for (path, *rest), labels in zip(views, values, strict=True):
        file = tmp_path / "CheXpert-v1.0-small" / path
        file.parent.mkdir(parents=True)
        Image.fromarray(np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))).save(file)
        lines.append(",".join([f"CheXpert-v1.0-small/{path}", *rest, *labels[:14]]))
    store = MemoryStore()
    manifest = ingest(tmp_path, "\n".join(lines), load_schema("chexpert"), store)
    (shard,) = (read_shard(store, ShardRef.from_dict(plain)) for plain in manifest["shards"])
    assert shard.records["record_id"].tolist() == [
        "patient00001/study1/view1_frontal",
        "patient00001/study2/view1_frontal",
        "patient00003/study1/view1_frontal",
    ]
    assert (manifest["patients"], manifest["filtered"], manifest["modality"]) == (2, 1, "CR")
    assert shard.records["split"].tolist() == ["train", "train", "valid"]
    assert shard.records["attribute_sex"].fillna("?").tolist() == ["Female", "Female", "?"]
    assert shard.records["attribute_age"].tolist() == ["60 to 79", "60 to 79", "80 and over"]
    meant = [shard.records[f"label_{label}"].fillna(9).tolist()[0] for label in CHEXPERT_LABELS[:4]]
    assert meant == [1, 9, 9, 0]


def scan(folder, name, tumour_at):
    """One patient's folder as published: FLAIR and a labelled tumour, mostly in slice ``tumour_at``."""
    home = folder / f"{name}_nifti"
    home.mkdir()
    flair = np.random.default_rng(tumour_at).integers(0, 900, (10, 12, 8)).astype(np.int16)
    tumour = np.zeros(flair.shape, np.uint8)
    tumour[2:6, 3:7, tumour_at] = 4
    tumour[3, 3, tumour_at - 1] = 1
    for part, voxels in (("FLAIR", flair), ("tumor_segmentation", tumour)):
        data = nibabel.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0])).to_bytes()
        (home / f"{name}_{part}.nii.gz").write_bytes(gzip.compress(data))
    return tumour


def test_ucsf_pdgm_layout_is_read_as_published(tmp_path):
    masks = [scan(tmp_path, "UCSF-PDGM-0004", 3), scan(tmp_path, "UCSF-PDGM-0138_FU006d", 5)]
    (tmp_path / "UCSF-PDGM-metadata_v2.csv").write_text(
        "ID,Sex,Age at MRI,WHO CNS Grade,Final pathologic diagnosis (WHO 2021),OS\n"
        "UCSF-PDGM-004,M,66,4,Glioblastoma  IDH-wildtype,1303\n"
        'UCSF-PDGM-138_FU006d,F,35,2,"Oligodendroglioma, IDH-mutant, 1p/19q-codeleted",20\n'
        "UCSF-PDGM-005,F,80,4,Glioblastoma  IDH-wildtype,185\n",
        "utf-8",
    )
    store = MemoryStore()
    manifest = ingest(tmp_path, None, load_schema("ucsf-pdgm"), store)
    (shard,) = (read_shard(store, ShardRef.from_dict(plain)) for plain in manifest["shards"])
    assert shard.records["record_id"].tolist() == ["UCSF-PDGM-0004", "UCSF-PDGM-0138_FU006d"]
    assert shard.records["patient_id"].tolist() == ["UCSF-PDGM-0004", "UCSF-PDGM-0138"]
    assert shard.records["label_glioblastoma"].tolist() == [1, 0]
    assert shard.records["label_tumour_grade_4"].tolist() == [1, 0]
    assert shard.records["attribute_age"].tolist() == ["60 to 79", "under 40"]
    for mask, tumour, index in zip(shard.masks, masks, (3, 5), strict=True):
        np.testing.assert_array_equal(mask, tumour[:, :, index].T > 0)  # stored from right to left, front to back
    assert [(entry["row"], entry["reason"]) for entry in manifest["refused"]] == [(3, "FILE_NOT_FOUND")]
    assert (manifest["has_masks"], manifest["modality"]) == (True, "MR")


def test_range_of_slices_makes_a_record_of_each(tmp_path):
    scan(tmp_path, "UCSF-PDGM-0004", 3)
    text = "ID,Sex,Age at MRI,WHO CNS Grade,Final pathologic diagnosis (WHO 2021)\nUCSF-PDGM-004,M,66,4,Astrocytoma\n"
    plain = load_schema("ucsf-pdgm").model_dump(mode="json")
    plain["slices"] = {"which": "range", "start": 2, "stop": 7, "step": 2}
    store = MemoryStore()
    manifest = ingest(tmp_path, text, type(SCHEMA).model_validate(plain), store)
    assert records_of(store, manifest)[0] == [f"UCSF-PDGM-0004/slice-{n:03d}" for n in (2, 4, 6)]
    assert (manifest["records"], manifest["patients"]) == (3, 1)
