"""`evenhand phantoms write` on the command line."""

from __future__ import annotations

import pandas as pd
import pytest
from typer.testing import CliRunner

from services.platform.commands import phantoms

SMALL = ["write", "--kind", "brain", "--world", "planted", "--patients", "2", "--seed", "7"]


def test_write_leaves_images_a_table_a_schema_and_the_truth(tmp_path):
    result = CliRunner().invoke(phantoms, [*SMALL, "--out", str(tmp_path / "new")])
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "new" / "rows.csv")
    assert table["patient_id"].nunique() == 2
    assert all((tmp_path / "new" / name).is_file() for name in [*table["image"], *table["mask"]])
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "images",
        "rows.csv",
        "schema.yaml",
        "truth.parquet",
    }


@pytest.mark.parametrize("wrong", [["--world", "fair"], ["--kind", "spine"], ["--patients", "0"], ["--seed", "-1"]])
def test_a_wrong_option_is_a_usage_error_that_names_it(tmp_path, wrong):
    result = CliRunner().invoke(phantoms, [*SMALL, "--out", str(tmp_path / "new"), *wrong])
    assert result.exit_code == 2
    assert wrong[0] in result.output
    assert not (tmp_path / "new").exists()
