"""A folder of cines becomes a cohort: nine images of a training patient, one of anybody else, nobody in two splits."""

from __future__ import annotations

import gzip
from functools import partial

import nibabel
import numpy as np
import pytest

from services.adapters.object_store import MemoryStore
from services.audit.cohort import ingest as ingest_module
from services.audit.cohort.schema import CohortSchema, load_schema
from services.errors import InvalidInput
from services.hosting.shards import ShardRef, read_shard
from services.maths.phantoms import cardiac
from services.maths.phantoms.worlds import Patient

SIZE, DEPTH, FRAMES = 32, 4, 8
AFFINE = np.diag([-1.8, -1.8, 8.0, 1.0])
HEADER = "eid,sex,age,bmi,split,heart_failure"
PEOPLE = (
    ("p1", "0,59,30", "train", 0),
    ("p2", "1,60,29.99", "train", 3),
    ("p3", "0,70,25", "validation", 5),
    ("p4", "1,71,18.4", "test", 6),
)

# One decode process is enough for these few files, and starting one takes most of a test's time.
ingest = partial(ingest_module.ingest, workers=1)


def write_heart(folder, name, ed):
    """A drawn heart that beats from ED to ES, half a cycle later, and back; its frames are blends of the two drawn."""
    rng = np.random.default_rng(ed)
    body = cardiac.draw_body(Patient(0, name, "train", "Female", 50, "White", 1), rng)
    contraction = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(FRAMES) - ed) / FRAMES)
    values = np.zeros((SIZE, SIZE, DEPTH, FRAMES), np.int16)
    labels = np.zeros(values.shape, np.uint8)
    for z in range(DEPTH):
        for t, share in enumerate(contraction):
            cine = cardiac.Cine((0.0, 0.01 * z), 0.0, 0.3 * (1 - share), 1.0, 0.01)
            frames, masks = cardiac.draw_pair(SIZE, body, cine, 0.0, rng)
            values[:, :, z, t], labels[:, :, z, t] = 800 * frames[1].T, masks[1].T
    home = folder / name
    home.mkdir()
    for file, voxels in (("sa", values), ("label_sa", labels)):
        (home / f"{file}.nii.gz").write_bytes(gzip.compress(nibabel.Nifti1Image(voxels, AFFINE).to_bytes(), mtime=0))
    return labels


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hearts")
    return folder, {name: write_heart(folder, name, ed) for name, _, _, ed in PEOPLE}


def table(people=PEOPLE):
    return "\n".join([HEADER, *(f"{name},{told},{split},{n % 2}" for n, (name, told, split, _) in enumerate(people))])


def shard_of(store, manifest):
    (shard,) = (read_shard(store, ShardRef.from_dict(plain)) for plain in manifest["shards"])
    return shard


def test_training_patients_have_nine_images_and_the_others_one(hearts):
    folder, labels = hearts
    store = MemoryStore()
    manifest = ingest(folder, table(), load_schema("short-axis-cine"), store)
    shard = shard_of(store, manifest)
    places = [f"slice-{z:03d}/offset{offset:+d}" for z in (1, 2, 3) for offset in (-1, 0, 1)]
    expected = [f"{name}/{place}" for name in ("p1", "p2") for place in places] + ["p3", "p4"]
    assert shard.records["record_id"].tolist() == expected
    assert shard.records["patient_id"].tolist() == ["p1"] * 9 + ["p2"] * 9 + ["p3", "p4"]
    assert (manifest["records"], manifest["patients"], manifest["refused"]) == (20, 4, [])
    assert manifest["mask_planes"] == ["ED", "ES"] and manifest["has_masks"]
    for name, _, _, ed in PEOPLE:
        es = (ed + FRAMES // 2) % FRAMES
        middle = expected.index(name if name in expected else f"{name}/slice-002/offset+0")
        for plane, frame in enumerate((ed, es)):
            np.testing.assert_array_equal(shard.masks[middle][plane], labels[name][:, :, 2, frame].T)
        image = shard.images[middle]
        assert image.shape == (3, SIZE, SIZE) and (image.min(), image.max()) == (0.0, 1.0)
        np.testing.assert_array_equal(image[0], image[2])


def test_a_body_mass_index_of_thirty_is_obese_and_ages_are_cut_at_60_and_70(hearts):
    folder, _ = hearts
    store = MemoryStore()
    records = shard_of(store, ingest(folder, table(), load_schema("short-axis-cine"), store)).records
    patients = records.drop_duplicates("patient_id")
    assert patients["attribute_bmi"].tolist() == ["obese", "overweight", "overweight", "underweight"]
    assert patients["attribute_age"].tolist() == ["under 60", "60 to 69", "70 and over", "70 and over"]
    assert patients["attribute_sex"].tolist() == ["Female", "Male", "Female", "Male"]


def test_the_same_folder_gives_the_same_digest_with_any_number_of_decoders(hearts):
    folder, _ = hearts
    schema = load_schema("short-axis-cine")
    first = ingest(folder, table(), schema, MemoryStore(), rows_per_shard=5)
    assert ingest(folder, table(), schema, MemoryStore(), rows_per_shard=5, workers=2) == first


def with_cine(**fields):
    plain = load_schema("short-axis-cine").model_dump(mode="json")
    return CohortSchema.model_validate(plain | {"cine": plain["cine"] | fields})


def test_columns_name_frames_and_blank_ones_leave_it_to_the_mask(hearts):
    folder, labels = hearts
    schema = with_cine(ed="ED", es="ES", counted_from=1, train=None)
    told = dict(zip(("p1", "p2", "p3", "p4"), (",3,6", ",,", ",0,2", ",2,x"), strict=True))
    lines = [HEADER + ",ED,ES", *(line + told[line[:2]] for line in table().splitlines()[1:])]
    store = MemoryStore()
    manifest = ingest(folder, "\n".join(lines), schema, store)
    shard = shard_of(store, manifest)
    assert shard.records["record_id"].tolist() == ["p1", "p2"]
    for name, mask, frames in zip(("p1", "p2"), shard.masks, ((2, 5), (3, 7)), strict=True):
        np.testing.assert_array_equal(mask, np.stack([labels[name][:, :, 2, frame].T for frame in frames]))
    assert [(entry["row"], entry["reason"]) for entry in manifest["refused"]] == [
        (3, "CINE_FRAME_INVALID"),
        (4, "CINE_FRAME_INVALID"),
    ]
    assert "from 1" in manifest["refused"][0]["message"]


def test_a_patient_whose_phases_nobody_knows_is_refused_alone(hearts):
    folder, _ = hearts
    plain = load_schema("short-axis-cine").model_dump(mode="json")
    schema = CohortSchema.model_validate(plain | {"mask": "segmentation"})
    files = {name: f"{name}/label_sa.nii.gz" for name, *_ in PEOPLE} | {"p3": ""}
    lines = [HEADER + ",segmentation", *(f"{line},{files[line[:2]]}" for line in table().splitlines()[1:])]
    manifest = ingest(folder, "\n".join(lines), schema, MemoryStore())
    assert [(entry["row"], entry["file"], entry["reason"]) for entry in manifest["refused"]] == [
        (3, "p3/sa.nii.gz", "CINE_PHASES_UNKNOWN")
    ]
    assert (manifest["records"], manifest["patients"]) == (19, 3)


def test_a_copy_of_a_mask_in_another_split_is_an_error(hearts, tmp_path):
    folder, _ = hearts
    for name, *_ in PEOPLE:
        (tmp_path / name).mkdir()
        for file in ("sa.nii.gz", "label_sa.nii.gz"):
            origin = "p3" if name == "p4" and file.startswith("label") else name
            (tmp_path / name / file).write_bytes((folder / origin / file).read_bytes())
    with pytest.raises(InvalidInput) as caught:
        ingest(tmp_path, table(), load_schema("short-axis-cine"), MemoryStore())
    assert (caught.value.reason, caught.value.field) == ("MASK_IN_TWO_SPLITS", "table.split")
    assert "found 1, the first in rows 3 and 4" in caught.value.message
    same = table().replace(",test,", ",validation,")
    assert ingest(tmp_path, same, load_schema("short-axis-cine"), MemoryStore())["records"] == 20


ACDC = """
patient: patient
image: cine
mask: ed_mask
mask_labels: [background, right ventricle, myocardium, left ventricle]
split: split
cine: {ed: ED, es: ES, es_mask: es_mask, counted_from: 1, train: {slices: 3, offsets: 1}}
attributes: [{name: sex, column: sex}]
"""


@pytest.fixture(scope="module")
def acdc(hearts, tmp_path_factory):
    """Two of the hearts as ACDC has them: a cine, and a mask file of each phase that is named by its frame, from 1."""
    origin, labels = hearts
    folder = tmp_path_factory.mktemp("acdc")
    rows = ["patient,split,sex,cine,ED,ES,ed_mask,es_mask"]
    for name, _, split, ed in (PEOPLE[0], PEOPLE[2]):
        es = (ed + FRAMES // 2) % FRAMES
        home = folder / name
        home.mkdir()
        (home / f"{name}_4d.nii.gz").write_bytes((origin / name / "sa.nii.gz").read_bytes())
        masks = [f"{name}/{name}_frame{frame + 1:02d}_gt.nii.gz" for frame in (ed, es)]
        for file, frame in zip(masks, (ed, es), strict=True):
            nibabel.save(nibabel.Nifti1Image(labels[name][..., frame], AFFINE), folder / file)
        rows.append(f"{name},{split},F,{name}/{name}_4d.nii.gz,{ed + 1},{es + 1},{masks[0]},{masks[1]}")
    return folder, "\n".join(rows)


def test_a_mask_file_of_each_phase_becomes_the_planes_of_the_frames_that_the_table_names(hearts, acdc):
    folder, rows = acdc
    store = MemoryStore()
    manifest = ingest(folder, rows, load_schema(ACDC), store)
    shard = shard_of(store, manifest)
    assert (manifest["records"], manifest["refused"], manifest["mask_planes"]) == (4, [], ["ED", "ES"])
    whole = MemoryStore()
    same = shard_of(whole, ingest(hearts[0], table(), with_cine(train={"slices": 3, "offsets": 1}), whole))
    places = [same.records["record_id"].tolist().index(record) for record in _acdc_records(same)]
    for mask, image, place in zip(shard.masks, shard.images, places, strict=True):
        np.testing.assert_array_equal(mask, same.masks[place])
        np.testing.assert_array_equal(image, same.images[place])


def _acdc_records(shard):
    """Records of the two patients in a cohort that has a mask of every frame, with the same slices."""
    return [record for record in shard.records["record_id"] if record.startswith(("p1", "p3"))]


def test_a_row_that_names_the_mask_of_one_phase_is_refused_alone(acdc):
    folder, rows = acdc
    header, first, second = rows.splitlines()
    manifest = ingest(
        folder, "\n".join([header, first, second.rpartition(",")[0] + ","]), load_schema(ACDC), MemoryStore()
    )
    assert [(entry["row"], entry["reason"]) for entry in manifest["refused"]] == [(2, "MASK_OF_ONE_PHASE")]
    assert manifest["patients"] == 1


def test_the_mask_at_es_is_kept_out_of_a_second_split_too(acdc):
    folder, rows = acdc
    header, first, second = rows.splitlines()
    stolen = second.rpartition(",")[0] + "," + first.rpartition(",")[2]
    with pytest.raises(InvalidInput) as caught:
        ingest(folder, "\n".join([header, first, stolen]), load_schema(ACDC), MemoryStore())
    assert caught.value.reason == "MASK_IN_TWO_SPLITS"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ed: ED, es: ES, ", "frames of both"),
        ("mask: ed_mask\n", "mask_labels name"),
        (", offsets: 1", "do not fit shifted frames"),
    ],
)
def test_a_schema_whose_phases_and_masks_do_not_go_together_is_refused(change, told):
    with pytest.raises(InvalidInput, match=told):
        load_schema(ACDC.replace(change, ""))
