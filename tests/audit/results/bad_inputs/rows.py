"""Bad rows of predictions and of image quality."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from services.errors import DuplicateRecord, InvalidInput, NonFinite, OutOfRange, UnknownAttribute, UnknownLabel
from tests.audit.results.bad_inputs.cases import (
    PATIENTS,
    Cases,
    Kept,
    Refused,
    audit,
    cells,
    predictions,
    quality,
    silent,
    spoiled,
    undefined,
)

FRAME, DICE = predictions(), quality()
FEMALE = (FRAME["attribute_sex"] == "Female").to_numpy()
CANDIDATE = (FRAME["pipeline"] == "unet").to_numpy()
BOTH_CLASSES = ("auroc", "balanced_accuracy")


def _audit(column, value, rows=slice(0, 1), **changed):
    return lambda: audit(predictions=spoiled(FRAME, column, value, rows), **changed)


def _refused(column, value, error, match):
    return Refused(_audit(column, value), error, f"predictions.{column}", match)


def _measured(value, metric="dice", rows=slice(0, 1)):
    return lambda: audit(quality=spoiled(DICE, "value", value, rows).assign(metric=metric))


def _out_of_range(value, metric, match):
    return Refused(_measured(value, metric), OutOfRange, "quality.value", match)


def _moved(frame):
    """The candidate's rows are of patients whom the baseline never saw."""
    copy = frame.copy()
    for column in ("patient_id", "record_id"):
        copy.loc[CANDIDATE, column] = "x" + copy.loc[CANDIDATE, column]
    return copy


def _twin(frame):
    baseline = frame[~CANDIDATE]
    return pd.concat([baseline, baseline.assign(pipeline="copy")])


PREDICTIONS: Cases = {
    "score NaN": _refused("y_score", math.nan, NonFinite, "finite"),
    "score None": _refused("y_score", None, NonFinite, "finite"),
    "score infinite": _refused("y_score", math.inf, NonFinite, "finite"),
    "score minus infinite": _refused("y_score", -math.inf, NonFinite, "finite"),
    "score above 1": _refused("y_score", 1.0001, OutOfRange, "probability"),
    "score below 0": _refused("y_score", -1e-9, OutOfRange, "probability"),
    "score a word": _refused("y_score", "high", InvalidInput, "must hold numbers"),
    "label 2": _refused("y_true", 2, UnknownLabel, "0, 1 or missing"),
    "label -2": _refused("y_true", -2, UnknownLabel, "0, 1 or missing"),
    "label -1": _refused("y_true", -1, UnknownLabel, "0, 1 or missing"),
    "label one half": _refused("y_true", 0.5, UnknownLabel, "0, 1 or missing"),
    "label a word": _refused("y_true", "yes", UnknownLabel, "0, 1 or missing"),
    "label empty": _refused("y_true", "", UnknownLabel, "0, 1 or missing"),
    "label infinite": _refused("y_true", math.inf, UnknownLabel, "0, 1 or missing"),
    "threshold infinite": _refused("threshold", math.inf, NonFinite, "finite"),
    "threshold in percent": _refused("threshold", 50.0, OutOfRange, r"\[0, 1\]"),
    "threshold below 0": _refused("threshold", -0.5, OutOfRange, r"\[0, 1\]"),
    "threshold a word": _refused("threshold", "auto", InvalidInput, "must hold numbers"),
    "record missing": _refused("record_id", None, InvalidInput, "every row"),
    "patient missing": _refused("patient_id", None, InvalidInput, "every row"),
    "patient NaN": _refused("patient_id", math.nan, InvalidInput, "every row"),
    "pipeline missing": _refused("pipeline", None, InvalidInput, "every row"),
    "task missing": _refused("task", None, InvalidInput, "every row"),
    "label's name missing": _refused("label", None, InvalidInput, "every row"),
    "patient of a record changes": _refused("patient_id", "somebody", InvalidInput, "more than one patient_id"),
    "attribute of a record changes": _refused("attribute_age", "(never)", InvalidInput, "more than one attribute_age"),
    "unknown level": Refused(
        _audit("attribute_sex", "Other", FRAME["record_id"] == "r00000", quality=pd.DataFrame()),
        InvalidInput,
        "attribute_sex",
        "among its levels",
    ),
    "the same row twice": Refused(
        lambda: audit(predictions=pd.concat([FRAME, FRAME.iloc[:1]])),
        DuplicateRecord,
        "predictions.record_id",
        "repeat",
    ),
    "all rows twice": Refused(
        lambda: audit(predictions=pd.concat([FRAME, FRAME])), DuplicateRecord, "predictions.record_id", "^160 of"
    ),
    "no scores": Refused(
        lambda: audit(predictions=FRAME.drop(columns="y_score")), InvalidInput, "predictions.y_score", "no column"
    ),
    "no patients": Refused(
        lambda: audit(predictions=FRAME.drop(columns="patient_id")), InvalidInput, "predictions.patient_id", "no column"
    ),
    "no column of an audited attribute": Refused(
        lambda: audit(predictions=FRAME.drop(columns="attribute_sex")), UnknownAttribute, "attribute_sex", "no column"
    ),
    "no rows": Refused(
        lambda: audit(predictions=FRAME[:0], quality=pd.DataFrame()),
        InvalidInput,
        "baseline",
        "no rows of the baseline",
    ),
    "patient of a record differs between the files": Refused(
        lambda: audit(quality=DICE.assign(patient_id="somebody")), InvalidInput, "quality.patient_id", "predictions"
    ),
    "attribute of a record differs between the files": Refused(
        lambda: audit(quality=DICE.assign(attribute_sex="Male")), InvalidInput, "quality.attribute_sex", "predictions"
    ),
}

STATES: Cases = {
    "every label missing": Kept(
        _audit("y_true", None, slice(None), quality=pd.DataFrame()),
        lambda report: undefined(report["cells"]) and silent(report["gaps"]) and not report["families"],
    ),
    "no positive": Kept(
        _audit("y_true", 0, slice(None)),
        lambda report: all(undefined(cells(report, metric=metric)) for metric in (*BOTH_CLASSES, "tpr")),
    ),
    "no negative": Kept(
        _audit("y_true", 1, slice(None)),
        lambda report: all(undefined(cells(report, metric=metric)) for metric in (*BOTH_CLASSES, "fpr")),
    ),
    "no positive in one group": Kept(
        _audit("y_true", 0, FEMALE),
        lambda report: (
            undefined(cells(report, metric="tpr", group="Female"))
            and cells(report, metric="tpr", group="Male", pipeline="unet")[0]["estimate"] is not None
        ),
    ),
    "no label in one group": Kept(
        _audit("y_true", None, FEMALE), lambda report: undefined(cells(report, metric="brier", group="Female"))
    ),
    "attribute missing everywhere": Kept(
        _audit("attribute_sex", None, slice(None), quality=pd.DataFrame(), attributes=["sex"]),
        lambda report: undefined(cells(report, group="Female")) and silent(report["gaps"]),
    ),
    "a group of one patient": Kept(
        _audit(
            "attribute_age",
            "ancient",
            FRAME["patient_id"] == "p00000",
            quality=pd.DataFrame(),
            levels={"sex": ["Female", "Male"], "age": ["young", "middle", "old", "ancient"]},
        ),
        lambda report: (
            {row["state"] for row in cells(report, group="ancient")} <= {"insufficient", "undefined"}
            and {row["p_value"] for row in cells(report, group="ancient")} == {None}
        ),
    ),
    "a level of nobody": Kept(
        lambda: audit(levels={"sex": ["Female", "Male", "X"], "age": ["young", "middle", "old"]}),
        lambda report: (
            undefined(cells(report, group="X"))
            and all("X" in row["excluded_groups"] for row in report["gaps"] if row["attribute"] == "sex")
        ),
    ),
    "one patient": Kept(
        _audit("patient_id", "p", slice(None), quality=pd.DataFrame()),
        lambda report: (
            {row["state"] for row in report["cells"]} <= {"insufficient", "undefined"} and silent(report["gaps"])
        ),
    ),
    "one row": Kept(
        lambda: audit(predictions=FRAME[:1], quality=pd.DataFrame()),
        lambda report: silent(report["gaps"]) and report["changes"] == [],
    ),
    "no predictions": Kept(
        lambda: audit(predictions=pd.DataFrame()), lambda report: {row["metric"] for row in report["cells"]} == {"dice"}
    ),
    "no quality": Kept(lambda: audit(quality=pd.DataFrame()), lambda report: "dice" not in str(report["gaps"])),
    "scores all equal": Kept(
        _audit("y_score", 0.5, slice(None)),
        lambda report: (
            {row["estimate"] for row in cells(report, metric="auroc")} == {0.5}
            and not any(row["verdict"] == "gap" for row in report["gaps"] if row["metric"] in ("auroc", "tpr", "fpr"))
        ),
    ),
    "perfect separation": Kept(
        lambda: audit(predictions=FRAME.assign(y_score=FRAME["y_true"].astype(float))),
        lambda report: (
            {row["estimate"] for row in cells(report, metric="auroc")} == {1.0}
            and {row["ci_low"] < 1 for row in cells(report, metric="auroc")} == {True}
        ),
    ),
    "scores turned round": Kept(
        lambda: audit(predictions=FRAME.assign(y_score=1.0 - FRAME["y_true"])),
        lambda report: {row["estimate"] for row in cells(report, metric="auroc")} == {0.0},
    ),
    "no threshold": Kept(
        _audit("threshold", None, slice(None)),
        lambda report: (
            undefined(cells(report, metric="tpr"))
            and "No threshold was given for Edema" in " ".join(report["methods"]["text"])
        ),
    ),
    "no threshold in the candidate": Kept(
        _audit("threshold", math.nan, CANDIDATE),
        lambda report: silent([row for row in report["changes"] if row["metric"] in ("tpr", "tpr,fpr", "fpr")]),
    ),
    "a patient in two groups": Kept(
        lambda: audit(
            predictions=FRAME.assign(attribute_age=np.where(FRAME["record_id"] == "r00000", "old", "young")),
            quality=pd.DataFrame(),
        ),
        lambda report: report["methods"]["varying_attributes"] == {"age": 1},
    ),
    "a pipeline twice under two names": Kept(
        lambda: audit(predictions=_twin(FRAME), quality=pd.DataFrame()),
        lambda report: (
            {(row["estimate"], row["p_value"]) for row in report["changes"]} - {(None, None), (0.0, None)}
            == {(0.0, 1.0)}
        ),
    ),
    "a candidate of other patients": Kept(
        lambda: audit(predictions=_moved(FRAME), quality=pd.DataFrame()),
        lambda report: silent(report["changes"]) and len(report["changes"]) > 4,
    ),
    "a candidate without labels": Kept(
        _audit("y_true", None, CANDIDATE),
        lambda report: silent(report["changes"]),
    ),
    "a level that looks like a number": Kept(
        lambda: audit(
            predictions=FRAME.assign(attribute_sex=FEMALE.astype(int)),
            quality=DICE.assign(attribute_sex=(DICE["attribute_sex"] == "Female").astype(int)),
            levels={"sex": ["0", "1"], "age": ["young", "middle", "old"]},
        ),
        lambda report: {row["group"] for row in report["cells"] if row["attribute"] == "sex"} == {"0", "1"},
    ),
}

QUALITY: Cases = {
    "Dice above 1": _out_of_range(1.01, "dice", "between 0 and 1"),
    "Dice in percent": _out_of_range(85.0, "dice", "between 0 and 1"),
    "Dice below 0": _out_of_range(-0.01, "dice", "between 0 and 1"),
    "Dice infinite": _out_of_range(math.inf, "dice", "between 0 and 1"),
    "Dice of a structure above 1": _out_of_range(1.01, "dice/liver", "between 0 and 1"),
    "SSIM above 1": _out_of_range(1.5, "ssim_gaussian11", "between -1 and 1"),
    "SSIM infinite": _out_of_range(-math.inf, "ssim_gaussian11", "between -1 and 1"),
    "LPIPS below 0": _out_of_range(-0.2, "lpips_alex", "not below 0"),
    "LPIPS infinite": _out_of_range(math.inf, "lpips_vgg", "not below 0"),
    "a distance below 0": _out_of_range(-0.1, "perceptual/phantom-clip", "not below 0"),
    "a distance infinite": _out_of_range(math.inf, "perceptual/phantom-clip", "not below 0"),
    "PSNR minus infinite": _out_of_range(-math.inf, "psnr", "infinite only"),
    "quality a word": Refused(_measured("good"), InvalidInput, "quality.value", "must hold numbers"),
    "unknown quality metric": Refused(_measured(0.5, "fsim"), InvalidInput, "quality.metric", "unknown metric 'fsim'"),
    "quality metric missing": Refused(_measured(0.5, None), InvalidInput, "quality.metric", "every row"),
    "quality without values": Refused(
        lambda: audit(quality=DICE.drop(columns="value")), InvalidInput, "quality.value", "no column"
    ),
    "quality row twice": Refused(
        lambda: audit(quality=pd.concat([DICE, DICE[:1]])), DuplicateRecord, "quality.record_id", "repeat"
    ),
    "Dice NaN": Kept(
        _measured(math.nan), lambda report: cells(report, metric="dice", attribute="")[0]["excluded_records"] == 1
    ),
    "Dice all NaN": Kept(_measured(math.nan, rows=slice(None)), lambda report: undefined(cells(report, metric="dice"))),
    "Dice all equal": Kept(
        _measured(0.75, rows=slice(None)),
        lambda report: {row["estimate"] for row in cells(report, metric="dice")} == {0.75},
    ),
    "Dice all 1": Kept(
        _measured(1.0, rows=slice(None)),
        lambda report: (
            silent([row for row in report["gaps"] if row["definition"] == "ser" and not row["p_value"]])
            or {row["estimate"] for row in report["gaps"] if row["definition"] == "ser"} == {None}
        ),
    ),
    "PSNR all infinite": Kept(
        _measured(math.inf, "psnr", slice(None)),
        lambda report: (
            undefined(cells(report, metric="psnr"))
            and cells(report, metric="psnr", attribute="")[0]["excluded_records"] == 2 * PATIENTS
        ),
    ),
    "PSNR below 0": Kept(
        _measured(-3.0, "psnr", slice(None)),
        lambda report: (
            cells(report, metric="psnr", attribute="")[0]["estimate"] == -3.0
            and {row["estimate"] for row in report["gaps"] if row["definition"] == "percent_max_min"} == {None}
        ),
    ),
    "SSIM a last bit above 1": Kept(
        _measured(1.0 + 1e-7, "ssim_gaussian11"), lambda report: bool(cells(report, metric="ssim_gaussian11"))
    ),
}

CASES: Cases = {**PREDICTIONS, **STATES, **QUALITY}
