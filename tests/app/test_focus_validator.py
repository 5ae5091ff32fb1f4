"""The FOCUS export under the public validator of the version that it claims: FOCUS 1.2, whose rules it brings along."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from app.context import Context
from app.services import named
from ledger import money
from ledger.tables import CostHour

ROOT = Path(__file__).parents[2]
VALIDATOR = ROOT / "var" / "focus-validator" / "bin" / "focus-validator"

NO_TRUE_BILL_PASSES = {
    # Both are asked of each row, without the condition that their own text has: null, and not null.
    "InvoiceId-C-004-C",
    "InvoiceId-C-005-C",
    "InvoiceId-C-003-C",
    "InvoiceId-C-000-O",
    # Of third parties in the specification; the rule compares names, and AWS is invoiced by Amazon Web Services, Inc.
    "BilledCost-C-005-C",
    "BilledCost-C-000-M",
    # Of purchases that cover charges to come in the specification; the rule is asked of each, support fees too.
    "EffectiveCost-C-005-C",
    "EffectiveCost-C-000-M",
}
"""Rules whose machine form is stricter than the specification, in version 2.2.1 of the validator."""


def newer_pythons() -> list[str]:
    """Return the Pythons that `make focus` takes for the validator."""
    versions = (Path.home() / ".pyenv" / "versions").glob("3.1[23]*/bin/python")
    known = (shutil.which("python3.12"), shutil.which("python3.13"), *map(str, sorted(versions)))
    asked = ([each, "-c", "import venv"] for each in known if each)
    return [each[0] for each in asked if not subprocess.run(each, capture_output=True, check=False).returncode]


def exported(context: Context, path: Path, version: str) -> pl.DataFrame:
    service = named("export")
    service.run(context, service.asked({"out": path, "version": version}))
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema=False)


def test_the_public_validator_finds_nothing_that_the_specification_forbids(
    demo_context: Context, tmp_path: Path
) -> None:
    if not VALIDATOR.is_file():
        found = newer_pythons()
        assert not (os.environ.get("CI") and found), f"{VALIDATOR} does not exist, though there is {found[0]}"
        pytest.skip(f"{VALIDATOR} does not exist: `make focus` installs it where there is a Python 3.12")
    frame = exported(demo_context, tmp_path / "focus.csv", "1.2")
    assert frame.height > 100
    # It reads its list of currencies from the folder that it is installed in.
    home = next((VALIDATOR.parents[1] / "lib").glob("python3*/site-packages"))
    command = [VALIDATOR, "--data-file", tmp_path / "focus.csv", "--validate-version", "1.2", "--block-download"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False, timeout=300)
    total = re.search(r"Total: (\d+) \| Pass: (\d+) \| Fail: (\d+)", done.stdout)
    assert total, done.stdout[-2000:] + done.stderr[-2000:]
    failed = set(re.findall(r"^- ([A-Za-z]+-[A-Z]-\d{3}-[A-Z]):", done.stdout, re.MULTILINE))
    assert len(failed) == int(total[3])
    assert int(total[2]) > 100
    assert failed <= NO_TRUE_BILL_PASSES, sorted(failed - NO_TRUE_BILL_PASSES)


def test_an_export_of_1_2_has_the_same_billed_cost_and_says_what_it_derived(
    demo_context: Context, tmp_path: Path
) -> None:
    newest, older = (exported(demo_context, tmp_path / f"{each}.parquet", each) for each in ("1.4", "1.2"))
    assert money.add(*newest["BilledCost"]) == money.add(*older["BilledCost"])
    assert money.add(*older["BilledCost"]) == money.add(*demo_context.store.read(CostHour)["billed_cost"])
    assert newest.height == older.height
    for name in ("ListCost", "ContractedCost", "EffectiveCost"):
        unknown = newest[name].is_null()
        assert older[name].null_count() == 0
        assert (older["x_DerivedColumns"].fill_null("").str.contains(name) == unknown).all()
        assert older.filter(~unknown)[name].to_list() == newest.filter(~unknown)[name].to_list()
    assert {"ProviderName", "PublisherName", "ServiceSubcategory", "ChargeFrequency"} <= set(older.columns)
    assert not {each for each in older.columns if each.startswith("Allocated")}
    assert set(older["ServiceCategory"].unique()) <= set(older["ServiceCategory"].drop_nulls())


def test_each_service_has_one_category_in_1_2(demo_context: Context, tmp_path: Path) -> None:
    older = exported(demo_context, tmp_path / "f.parquet", "1.2")
    per_service = older.group_by("ProviderName", "ServiceName").agg(pl.col("ServiceCategory").n_unique())
    assert per_service["ServiceCategory"].max() == 1
