"""What lies in a place of bills is told apart into deliveries: one snapshot each."""

import json
import os
from pathlib import Path

import pytest

from collectors.billing._delivery import Delivery, Place
from ledger.errors import SourceError

MANIFEST = json.dumps({"dataFiles": ["s3://somewhere/else/export/2026-01/run-2/part.csv"]})


def put(root: Path, *paths: str, content: str = "a,b\n1,2\n") -> None:
    for each in paths:
        path = root / each
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def found(root: Path) -> dict[str, list[str]]:
    return {each.name: [file.path for file in each.files] for each in Place(str(root)).deliveries()}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.csv", "a.csv"),
        ("team/a.csv", "team"),
        ("x/2026-01/a.parquet", "x/2026-01"),
        ("x/202601/deep/er/a.parquet", "x/202601"),
        ("x/data/BILLING_PERIOD=2026-01/a.csv.gz", "x/BILLING_PERIOD=2026-01"),
        ("x/billing_period=2026-01/a.csv", "x/billing_period=2026-01"),
        ("report/20260101-20260201/run/a.csv", "report/20260101-20260201"),
        ("year=2026/month=1/a.csv", "year=2026/month=1"),
        ("date=2026-01-05/a.csv", "date=2026-01-05"),
    ],
)
def test_a_file_belongs_to_its_month_its_folder_or_itself(tmp_path: Path, path: str, name: str) -> None:
    put(tmp_path, path)
    assert found(tmp_path) == {name: [path]}


def test_other_files_and_hidden_ones_are_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "readme.md", "_tmp/_part.csv", ".hidden.csv", "2026-01/a.csv")
    assert found(tmp_path) == {"2026-01": ["2026-01/a.csv"]}


def test_where_aws_says_whether_it_writes_is_no_bill(tmp_path: Path) -> None:
    """AWS keeps a report for Athena in months, and beside them a Parquet file that says whether it is being written."""
    status = "r/cost_and_usage_data_status/cost_and_usage_data_status.parquet"
    put(tmp_path, "r/year=2026/month=10/r-1.snappy.parquet", status)
    assert found(tmp_path) == {"r/year=2026/month=10": ["r/year=2026/month=10/r-1.snappy.parquet"]}


def test_of_several_runs_the_newest_manifest_counts(tmp_path: Path) -> None:
    put(tmp_path, "data/2026-01/run-1/part.csv", "data/2026-01/run-2/part.csv")
    put(tmp_path, "metadata/2026-01/run-1/Manifest.json", content=MANIFEST.replace("run-2", "run-1"))
    put(tmp_path, "metadata/2026-01/run-2/Manifest.json", content=MANIFEST)
    old = tmp_path / "metadata/2026-01/run-1/Manifest.json"
    os.utime(old, (1, 1))
    assert found(tmp_path) == {"2026-01": ["data/2026-01/run-2/part.csv"]}
    (one,) = Place(str(tmp_path)).deliveries()
    assert [each.path for each in one.all_files][-1] == "metadata/2026-01/run-2/Manifest.json"


@pytest.mark.parametrize("content", [MANIFEST.replace("part.csv", "late.csv"), "{}", "no json"])
def test_a_delivery_that_is_not_whole_waits(tmp_path: Path, content: str) -> None:
    put(tmp_path, "2026-01/part.csv")
    put(tmp_path, "2026-01/manifest.json", content=content)
    put(tmp_path, "2026-02/part.csv")
    broken, whole = Place(f"file://{tmp_path}").deliveries()
    assert broken.problem
    assert not broken.files
    assert (whole.name, whole.problem) == ("2026-02", "")


def test_a_place_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="found no folder there"):
        Place(str(tmp_path / "nothing")).deliveries()


def test_what_is_read_is_called_by_its_address(tmp_path: Path) -> None:
    put(tmp_path, "2026-01/part.csv")
    place = Place(str(tmp_path))
    (delivery,) = place.deliveries()
    assert isinstance(delivery, Delivery)
    source = place.source(delivery, "cloud/2026-01", tmp_path)
    assert (source.path, source.name) == (f"{tmp_path}/2026-01", "cloud/2026-01")
    assert [each.label for each in source.files] == [f"{tmp_path}/2026-01/part.csv"]
    assert source.files[0].content() == b"a,b\n1,2\n"
