"""Bills that the hub fetches: from a folder, and from a real S3 API on loopback."""

import json
import os
import tarfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from app.context import Context
from app.pullers import Pullers
from app.services import named
from app.services._fetching import BillSource, Outcome, fetch
from ledger.config import load
from ledger.errors import InputError
from ledger.money_sections import BillPlace
from ledger.tables import BillImport, BillObject, FocusCharge
from tests.app.conftest import Command
from tests.collectors.billing.bills import bill, text

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)


def source(url: str | Path, **given: Any) -> BillSource:
    return BillSource("cloud", BillPlace(url=str(url), **given))


def statuses(outcome: Outcome) -> dict[str, str]:
    assert outcome.error is None, outcome.error
    return {each.delivery: each.status for each in outcome.fetched}


def billed(context: Context) -> dict[str, Decimal]:
    """Return what counts, by source."""
    frame = context.store.read(BillImport).filter(pl.col("status") == "current")
    return {str(name): total for name, total in frame.group_by("source_name").agg(pl.col("billed_cost").sum()).rows()}


def touch(path: Path, seconds: int) -> None:
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + seconds))


def test_only_what_changed_in_a_folder_is_imported(empty_context: Context, tmp_path: Path) -> None:
    folder = tmp_path / "bills"
    one = bill(folder / "2026-01" / "part-1.csv", {})
    bill(folder / "2026-01" / "part-2.csv", {"ResourceId": "i-2", "BilledCost": "2"})
    bill(folder / "loose.csv", {"BillingAccountId": "acc-2", "BilledCost": "7"})
    (folder / "readme.md").write_text("no bill")
    place = source(folder)
    assert statuses(fetch(empty_context, place)) == {"2026-01": "imported", "loose.csv": "imported"}
    assert billed(empty_context) == {"cloud/2026-01": Decimal("3.5"), "cloud/loose.csv": Decimal(7)}
    again = fetch(empty_context, place)
    assert (statuses(again), again.unchanged) == ({}, 2)
    bill(one, {"BilledCost": "2.5"})
    touch(one, 60)
    assert statuses(fetch(empty_context, place)) == {"2026-01": "imported"}
    assert billed(empty_context) == {"cloud/2026-01": Decimal("4.5"), "cloud/loose.csv": Decimal(7)}
    kept = empty_context.store.read(FocusCharge)
    assert kept["import_id"].n_unique() == 3
    assert empty_context.store.read(BillObject)["path"].sort().to_list() == [
        "2026-01/part-1.csv",
        "2026-01/part-2.csv",
        "loose.csv",
    ]


def test_a_refused_file_is_said_once_and_read_again_when_it_changes(empty_context: Context, tmp_path: Path) -> None:
    path = tmp_path / "bills" / "a.csv"
    path.parent.mkdir()
    path.write_text("what,ever\n1,2\n")
    place = source(path.parent)
    (found,) = fetch(empty_context, place).fetched
    assert (found.status, found.rows) == ("refused", 0)
    assert "found what, ever, expected one of" in found.message
    assert fetch(empty_context, place).unchanged == 1
    bill(path, {})
    touch(path, 60)
    assert statuses(fetch(empty_context, place)) == {"a.csv": "imported"}


def test_files_under_changing_names_replace_their_period_where_that_is_said(
    empty_context: Context, tmp_path: Path
) -> None:
    place = source(tmp_path / "bills", replaces="same_period")
    bill(tmp_path / "bills" / "run-1.csv", {})
    fetch(empty_context, place)
    bill(tmp_path / "bills" / "run-2.csv", {"BilledCost": "9"})
    assert statuses(fetch(empty_context, place)) == {"run-2.csv": "imported"}
    assert billed(empty_context) == {"cloud": Decimal(9)}


def test_a_changed_bill_of_a_closed_period_waits_until_it_is_accepted(empty_context: Context, tmp_path: Path) -> None:
    path = bill(tmp_path / "bills" / "a.csv", {}, {"ResourceId": "i-2"})
    place = source(path.parent)
    fetch(empty_context, place)
    periods, bills, changes = named("periods"), named("bills"), named("bill_changes")
    with pytest.raises(InputError, match=r"found 'Cloud', expected one of Cloud Inc\."):
        periods.run(empty_context, periods.asked({"action": "close", "invoice_issuer": "Cloud", "period": "2026-01"}))
    periods.run(empty_context, periods.asked({"action": "close", "invoice_issuer": "Cloud Inc.", "period": "2026-01"}))
    bill(path, {}, {"ResourceId": "i-2", "BilledCost": "2.5"})
    touch(path, 60)
    (found,) = fetch(empty_context, place).fetched
    assert found.status == "waiting"
    assert "found a change of +1 USD in a closed billing period, expected none" in found.message
    assert billed(empty_context) == {"cloud/a.csv": Decimal(3)}
    (waiting,) = empty_context.store.read(BillImport).filter(pl.col("status") == "waiting").to_dicts()
    (unit,) = changes.run(empty_context, changes.asked({"import_id": waiting["import_id"][:8]}))
    assert [(each["change"], each["billed_change_cost"]) for each in unit["changes"]] == [("changed", Decimal(1))]
    totals = {each["change"]: each for each in unit["totals"]}
    assert (totals["same"]["charge_count"], totals["changed"]["billed_cost"]) == (1, Decimal("2.5"))
    bills.run(empty_context, bills.asked({"action": "accept", "import_id": waiting["import_id"]}))
    assert billed(empty_context) == {"cloud/a.csv": Decimal(4)}


@pytest.mark.real_data
def test_a_real_report_of_aws_is_fetched_with_its_manifest(
    empty_context: Context, tmp_path: Path, shared_data: Path
) -> None:
    with tarfile.open(shared_data / "billing" / "aws" / "cur_s3_layout_2018-08.tar.gz") as packed:
        packed.extractall(tmp_path / "bucket", filter="data")
    place = source(tmp_path / "bucket")
    (found,) = fetch(empty_context, place).fetched
    assert (found.delivery, found.status) == ("my-prefix/my-report/20180801-20180901", "imported")
    assert found.rows == empty_context.store.read(FocusCharge, columns=("row_index",)).height
    assert fetch(empty_context, place).unchanged == 1


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Return the address of an S3 API."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


OPTIONS = {"access_key_id": "k", "secret_access_key": "s", "region": "us-east-1"}


@pytest.fixture
def bucket(server: str) -> Any:
    """Return an empty bucket."""
    client = boto3.resource(
        "s3",
        endpoint_url=server,
        aws_access_key_id="k",
        aws_secret_access_key="s",
        region_name="us-east-1",
    )
    made = client.Bucket("bills")
    made.create()
    made.objects.all().delete()
    return made


def test_an_export_in_a_bucket_is_fetched_by_its_newest_manifest(
    server: str, bucket: Any, empty_context: Context
) -> None:
    def put(run: str, amount: str) -> None:
        data = f"export/data/BILLING_PERIOD=2026-01/{run}/focus-00001.csv"
        bucket.put_object(Key=data, Body=text([{"BilledCost": amount}]).encode())
        manifest = {"dataFiles": [f"s3://bills/{data}"]}
        key = f"export/metadata/BILLING_PERIOD=2026-01/{run}/focus-Manifest.json"
        bucket.put_object(Key=key, Body=json.dumps(manifest).encode())

    put("run-1", "3")
    place = source("s3://bills/export", options=options(server))
    assert statuses(fetch(empty_context, place)) == {"BILLING_PERIOD=2026-01": "imported"}
    assert fetch(empty_context, place).unchanged == 1
    time.sleep(1.1)  # S3 tells whole seconds
    put("run-2", "4")
    assert statuses(fetch(empty_context, place)) == {"BILLING_PERIOD=2026-01": "imported"}
    assert billed(empty_context) == {"cloud/BILLING_PERIOD=2026-01": Decimal(4)}
    (kept,) = empty_context.store.read(BillImport).filter(pl.col("status") == "current").to_dicts()
    assert kept["path"] == "s3://bills/export/BILLING_PERIOD=2026-01"
    assert kept["billing_period_start"] == JANUARY
    bucket.put_object(
        Key="export/metadata/BILLING_PERIOD=2026-02/run/focus-Manifest.json",
        Body=json.dumps({"dataFiles": ["s3://bills/export/data/BILLING_PERIOD=2026-02/run/x.csv"]}).encode(),
    )
    early = fetch(empty_context, place)
    assert early.fetched == []
    assert "found no such file beside it" in early.remarks[0]


def options(server: str) -> dict[str, SecretStr]:
    return {name: SecretStr(value) for name, value in {**OPTIONS, "endpoint": server}.items()}


def test_an_object_with_the_same_bytes_written_again_changes_nothing(
    server: str, bucket: Any, empty_context: Context
) -> None:
    content = text([{}]).encode()
    bucket.put_object(Key="flat/a.csv", Body=content)
    place = source("s3://bills/flat", options=options(server))
    fetch(empty_context, place)
    time.sleep(1.1)
    bucket.put_object(Key="flat/a.csv", Body=content)
    assert statuses(fetch(empty_context, place)) == {"a.csv": "imported"}
    assert empty_context.store.read(BillImport).height == 1


def test_a_bucket_that_is_not_there_is_an_error_that_says_where(server: str, empty_context: Context) -> None:
    outcome = fetch(empty_context, source("s3://nowhere/x", options=options(server)))
    assert outcome.error is not None
    assert str(outcome.error).startswith("s3://nowhere/x: ")
    assert "hint: check url and options of its section" in str(outcome.error)


def test_the_hub_fetches_at_its_pace(empty_context: Context, tmp_path: Path) -> None:
    bill(tmp_path / "bills" / "a.csv", {})
    pullers = Pullers(empty_context, [source(tmp_path / "bills", every_seconds=3600)])
    pullers.start()
    deadline = time.monotonic() + 60
    while empty_context.store.read(BillImport).is_empty() and time.monotonic() < deadline:
        time.sleep(0.05)
    pullers.stop()
    assert billed(empty_context) == {"cloud/a.csv": Decimal("1.5")}


def test_the_command_line_fetches_compares_and_accepts(command: Command, home: Path) -> None:
    path = bill(home / "in" / "a.csv", {}, {"ResourceId": "i-2", "BilledCost": "3"})
    (home / "clusterledger.toml").write_text(f'[bills.cloud]\nurl = "{home}/in"\n', encoding="utf-8")
    assert f"ok       bills cloud: {home}/in: 1 deliveries, 1 not fetched yet" in command("check").out
    ended = command("bills", "fetch")
    assert ended.code == 0, ended.err
    assert "a.csv" in ended.out
    assert "unchanged" in command("bills", "fetch").out
    bill(path, {})
    touch(path, 60)
    ended = command("bills", "fetch", "--json")
    assert ended.code == 2
    (row,) = json.loads(ended.out)
    assert row["status"] == "waiting"
    rows = json.loads(command("bills", "list", "--json").out)
    waiting = next(each for each in rows if each["status"] == "waiting")
    told = command("bills", "diff", waiting["import_id"][:10])
    assert "removed" in told.out
    assert "-3" in told.out
    assert command("bills", "accept", waiting["import_id"]).code == 0
    assert command("bills", "accept", waiting["import_id"]).code == 2
    assert command("bills", "fetch", "clod").err.startswith("error: bills.clod: found no such section; did you mean")


def test_rows_of_a_fetched_bill_that_are_wrong_are_told_once(command: Command, home: Path) -> None:
    path = bill(home / "in" / "a.csv", {}, *({"BilledCost": f"{n} or so"} for n in range(30)))
    (home / "clusterledger.toml").write_text(f'[bills.cloud]\nurl = "{home}/in"\n', encoding="utf-8")
    ended = command("bills", "fetch", "--json")
    assert ended.code == 0
    said = "line 3, column BilledCost: found '0 or so', expected a decimal number such as -12.50"
    line = f"30 rows, the first at {path}: {said}"
    assert f"refused: cloud: {line}\n" in ended.err
    (row,) = json.loads(ended.out)
    assert (row["rejections"], row["message"]) == ([line], f"focus 1.0; refused: {line}")


def test_what_was_paid_in_advance_is_amortised_when_its_bill_is_fetched_or_accepted(
    command: Command, home: Path
) -> None:
    block = {
        "ChargeCategory": "Purchase",
        "ChargeFrequency": "One-Time",
        "CommitmentDiscountId": "cb-1",
        "BilledCost": "100",
        "EffectiveCost": "100",
        "ChargePeriodEnd": "2026-01-11T00:00:00Z",
    }
    path = bill(home / "in" / "a.csv", block, {"ChargePeriodEnd": "2026-01-11T00:00:00Z"})
    (home / "clusterledger.toml").write_text(f'[bills.cloud]\nurl = "{home}/in"\n', encoding="utf-8")
    assert command("bills", "fetch").code == 0
    derived = [{"source_name": "amortisation", "status": "current"}]

    def kept() -> list[dict[str, str]]:
        rows = json.loads(command("bills", "list", "--json").out)
        return [{name: each[name] for name in derived[0]} for each in rows if each["format"] == "amortisation"]

    assert kept() == derived
    bill(path, {"ChargePeriodEnd": "2026-01-11T00:00:00Z"})
    touch(path, 60)
    command("bills", "fetch")
    assert kept() == derived
    waiting = next(each for each in json.loads(command("bills", "list", "--json").out) if each["status"] == "waiting")
    command("bills", "accept", waiting["import_id"])
    assert kept() == [{**derived[0], "status": "superseded"}]


def test_a_section_that_does_not_fit_is_told_and_its_secrets_are_not(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = home / "clusterledger.toml"
    toml.write_text("[bills.a]\nevery_second = 5\n[bills.a.options]\nsecret_access_key = 12345\n", encoding="utf-8")
    ended = command("bills", "fetch")
    assert ended.code == 2
    assert "bills.a.url: found nothing, expected a value" in ended.err
    assert "bills.a.every_second: found an unknown key; did you mean every_seconds?" in ended.err
    assert "12345" not in ended.err
    toml.write_text('[bills.a]\nurl = "s3://x"\n', encoding="utf-8")
    monkeypatch.setenv("CLUSTERLEDGER_BILLS__A__OPTIONS__SECRET_ACCESS_KEY", "k-1")
    place = load().bills["a"]
    assert place.options["secret_access_key"].get_secret_value() == "k-1"
    assert "k-1" not in repr(place)
    keys = [each["key"] for each in json.loads(command("config", "--json").out)]
    assert {"bills.NAME.url", "bills.NAME.every_seconds", "bills.NAME.options"} <= set(keys)
