"""What comes in is made to fit its table, or refused with a reason."""

import json
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger._door import admit, checks, is_finite
from ledger._order import arranged, has_repeats
from ledger.errors import ContractError
from ledger.frames import dtypes, to_frame
from ledger.store import Store
from ledger.tables import (
    TABLES,
    Asset,
    CostHour,
    FocusCharge,
    GpuSample,
    Job,
    MountSample,
    RejectedRow,
    declared,
)

AT = datetime(2026, 11, 20, 5, 0, tzinfo=UTC)
MILLISECONDS = 1_795_150_800_000  # the same instant


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open("duckdb::memory:", now=lambda: AT + timedelta(minutes=1)) as store:
        yield store


def sample(**given: Any) -> dict[str, Any]:
    return {"sampled_at": AT, "cluster": "c", "node": "n1", "gpu_uuid": "g1", "status": "ok", **given}


def samples(*rows: dict[str, Any]) -> pl.DataFrame:
    return to_frame(GpuSample, rows)


def test_missing_nullable_columns_are_null_and_types_are_the_tables(store: Store) -> None:
    written = store.append(GpuSample, pl.DataFrame([sample(power_watts=300)]), source="t")
    assert (written.rows, written.duplicates, written.rejected, written.unknown_columns) == (1, 0, 0, ())
    frame = store.read(GpuSample)
    assert dict(frame.schema) == dtypes(GpuSample)
    assert frame["power_watts"].to_list() == [300.0]
    assert frame["temperature_celsius"].to_list() == [None]
    assert frame.n_chunks() == 1


def test_unknown_columns_are_named_and_left_out(store: Store) -> None:
    written = store.append(GpuSample, pl.DataFrame([sample(colour="red")]), source="t")
    assert written.unknown_columns == ("colour",)
    assert written.rows == 1


@pytest.mark.parametrize(
    "value", [MILLISECONDS, float(MILLISECONDS), "2026-11-20T05:00:00Z", "2026-11-20T06:00:00+01:00"]
)
def test_instants_come_as_milliseconds_or_text(store: Store, value: object) -> None:
    store.append(GpuSample, samples(sample(sampled_at=value)), source="t")
    assert store.read(GpuSample)["sampled_at"].to_list() == [AT]


def test_an_instant_without_a_zone_is_utc(store: Store) -> None:
    naive = AT.replace(tzinfo=None)
    store.append(GpuSample, pl.DataFrame([sample(sampled_at=naive)]), source="t")
    assert store.read(GpuSample)["sampled_at"].to_list() == [AT]


def test_whole_floats_are_integers_and_broken_ones_are_refused(store: Store) -> None:
    frame = pl.DataFrame([sample(process_count=2.0), sample(gpu_uuid="g2", process_count=2.5)])
    written = store.append(GpuSample, frame, source="agent n1")
    assert (written.rows, written.rejected) == (1, 1)
    assert store.read(GpuSample)["process_count"].to_list() == [2]
    refused = store.read(RejectedRow).row(0, named=True)
    assert refused["reason"] == "process_count: found 2.5, expected a value that fits Int64 unchanged"
    assert (refused["table_name"], refused["source"]) == ("gpu_sample", "agent n1")
    assert json.loads(refused["row_json"])["gpu_uuid"] == "g2"


@pytest.mark.parametrize(
    ("given_values", "reason"),
    [
        ({"kernel_active_ratio": 1.5}, "kernel_active_ratio: found 1.5, expected at most 1.0"),
        ({"power_watts": -1.0}, "power_watts: found -1.0, expected at least 0.0"),
        ({"power_watts": float("nan")}, "power_watts: found nan, expected a finite number"),
        ({"energy_joules_total": float("inf")}, "energy_joules_total: found inf, expected a finite number"),
        ({"status": None}, "status: found null, expected a value"),
        ({"status": "asleep"}, "status: found 'asleep', expected one of ok, lost, error, denied"),
        ({"sampled_at": "yesterday"}, "sampled_at: found 'yesterday', expected a value that fits"),
        ({"sampled_at": None}, "sampled_at: found null, expected a value"),
        ({"gpu_uuid": None}, "gpu_uuid: found null, expected a value"),
        ({"process_count": "many"}, "process_count: found 'many', expected a value that fits Int64"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_its_reason(
    store: Store, given_values: dict[str, object], reason: str
) -> None:
    written = store.append(GpuSample, samples(sample(gpu_uuid="g0"), sample(**given_values)), source="t")
    assert (written.rows, written.rejected) == (1, 1)
    assert store.read(RejectedRow)["reason"].to_list()[0].startswith(reason)
    assert store.read(GpuSample)["gpu_uuid"].to_list() == ["g0"]


def test_a_frame_without_a_key_column_is_refused_row_by_row(store: Store) -> None:
    written = store.append(GpuSample, pl.DataFrame([sample()]).drop("node"), source="t")
    assert (written.rows, written.rejected) == (0, 1)
    assert store.read(RejectedRow)["reason"].to_list() == ["node: found null, expected a value"]


def test_equal_rows_count_once_and_other_rows_of_the_key_are_refused(store: Store) -> None:
    first, other = sample(power_watts=1.0), sample(power_watts=2.0)
    written = store.append(GpuSample, samples(first, first, other), source="t")
    assert (written.rows, written.duplicates, written.rejected) == (1, 1, 1)
    again = store.append(GpuSample, samples(other, first, sample(gpu_uuid="g2")), source="t")
    # Within the frame the first of a key stands; against the store it is then the later one.
    assert (again.rows, again.duplicates, again.rejected) == (1, 0, 2)
    assert store.append(GpuSample, samples(first), source="t").duplicates == 1
    assert store.read(GpuSample)["power_watts"].to_list() == [1.0, None]
    assert "found a second, different row" in store.read(RejectedRow)["reason"][0]


def test_rows_that_differ_only_in_null_are_different(store: Store) -> None:
    store.append(GpuSample, samples(sample(power_watts=None)), source="t")
    assert store.append(GpuSample, samples(sample(power_watts=None)), source="t").duplicates == 1
    assert store.append(GpuSample, samples(sample(power_watts=0.0)), source="t").rejected == 1


def job(**given: Any) -> dict[str, Any]:
    return {
        "cluster": "c", "job_id": "1", "submitted_at": AT, "restart_count": 0, "state": "RUNNING",
        "source": "slurm", "started_at": AT, **given,
    }  # fmt: skip


def test_the_newest_record_of_a_job_replaces_the_older(store: Store) -> None:
    assert store.append(Job, to_frame(Job, [job()]), source="t").rows == 1
    assert store.append(Job, to_frame(Job, [job()]), source="t").duplicates == 1
    ended = [job(state="RUNNING"), job(state="COMPLETED", ended_at=AT + timedelta(hours=1))]
    written = store.append(Job, to_frame(Job, ended), source="t")
    assert (written.rows, written.duplicates, written.rejected) == (1, 1, 0)
    assert store.read(Job)["state"].to_list() == ["COMPLETED"]


def charge(**given: Any) -> dict[str, Any]:
    return {
        "import_id": "i", "row_index": 0, "BilledCost": Decimal("0.000000000000000001"), "BillingCurrency": "USD",
        "BillingAccountId": "a", "BillingPeriodStart": AT, "BillingPeriodEnd": AT, "ChargePeriodStart": AT,
        "ChargePeriodEnd": AT, "ChargeCategory": "Usage", "ServiceProviderName": "p", "InvoiceIssuerName": "p",
        "InvoiceId": "", "is_derived": False, **given,
    }  # fmt: skip


def test_money_keeps_its_last_digit(store: Store) -> None:
    large = Decimal("12345678901234567890.123456789012345678")
    rows = [charge(), charge(row_index=1, BilledCost=str(large)), charge(row_index=2, BilledCost=-3)]
    assert store.append(FocusCharge, to_frame(FocusCharge, rows), source="t").rows == 3
    assert store.read(FocusCharge)["BilledCost"].to_list() == [Decimal("1E-18"), large, Decimal(-3)]
    total = store.select("SELECT sum(BilledCost) AS billed FROM focus_charge")["billed"]
    assert total.dtype == pl.Decimal(38, 18)
    assert [str(each) for each in total] == ["12345678901234567887.123456789012345679"]


@pytest.mark.parametrize(
    "value", [0.1, True, "1e-19", Decimal("1E-19"), "abc", 10**20, "12345678901234567890.1234567890123456789", "NaN"]
)
def test_money_that_would_change_is_no_row(value: object) -> None:
    with pytest.raises(ContractError, match="focus_charge: BilledCost"):
        to_frame(FocusCharge, [charge(BilledCost=value)])


def test_a_frame_with_money_in_another_type_raises(store: Store) -> None:
    frame = to_frame(FocusCharge, [charge()]).with_columns(pl.lit(0.5).alias("BilledCost"))
    with pytest.raises(ContractError, match=r"focus_charge: BilledCost: found Float64, expected Decimal"):
        store.append(FocusCharge, frame, source="t")
    narrow = frame.with_columns(pl.lit(Decimal("0.5")).alias("BilledCost"))
    with pytest.raises(ContractError, match="money is never converted"):
        store.append(FocusCharge, narrow, source="t")


def test_days_and_text_are_read_and_nothing_is_rounded(store: Store) -> None:
    row = {
        "asset_id": 7, "cluster": "c", "node": "n", "billing_currency": "USD", "purchase_cost": "250000",
        "life_start": "2026-01-01", "life_end": date(2031, 1, 1),
    }  # fmt: skip
    assert store.append(Asset, to_frame(Asset, [row]), source="t").rows == 1
    stored = store.read(Asset).row(0, named=True)
    assert (stored["asset_id"], stored["life_start"], stored["life_end"]) == ("7", date(2026, 1, 1), date(2031, 1, 1))


def test_mixed_values_are_told_apart_row_by_row() -> None:
    rows = [
        sample(process_count=1),
        sample(gpu_uuid="g2", process_count="x"),
        sample(gpu_uuid="g3", process_count=None),
    ]
    admitted = admit(declared(GpuSample), samples(*rows))
    assert admitted.frame["process_count"].to_list() == [1, None]
    assert admitted.rejected["reason"].to_list() == [
        "process_count: found 'x', expected a value that fits Int64 unchanged"
    ]


def test_rows_of_no_columns_and_no_rows_are_empty(store: Store) -> None:
    assert to_frame(GpuSample, []).height == 0
    assert dict(to_frame(GpuSample, {}).schema) == dtypes(GpuSample)
    assert store.append(GpuSample, to_frame(GpuSample, []), source="t").rows == 0
    assert store.versions("gpu_sample") == {}


def test_every_rule_of_every_table_is_known_to_the_door() -> None:
    for table in TABLES.values():
        assert len(checks(table.schema)) == len(table.schema.columns())


ratios = st.one_of(
    st.none(), st.floats(min_value=-2, max_value=3), st.sampled_from([float("nan"), float("inf"), 0.0, 1.0])
)
rows_of_mounts = st.lists(
    st.fixed_dictionaries(
        {
            "sampled_at": st.one_of(st.none(), st.integers(0, 3).map(lambda second: AT + timedelta(seconds=second))),
            "cluster": st.just("c"),
            "node": st.one_of(st.none(), st.sampled_from(["a", "b"])),
            "mount_point": st.sampled_from(["/", "/x"]),
            "step_seconds": ratios,
            "capacity_bytes": ratios,
            "inode_count": st.one_of(st.none(), st.integers(-2, 2)),
        }
    ),
    max_size=20,
)


@given(rows_of_mounts)
def test_the_door_and_the_schema_give_the_same_verdict(rows: list[dict[str, Any]]) -> None:
    # Keys apart: of two rows with one key the schema refuses both, the door keeps the first.
    frame = to_frame(MountSample, rows).with_columns(pl.lit(None, dtype=pl.String).alias("device"))
    frame = frame.select(*dtypes(MountSample)).cast(dtypes(MountSample), strict=False)  # type: ignore[arg-type]
    frame = frame.filter(pl.struct(declared(MountSample).key).is_first_distinct())
    good, failure = MountSample.filter(frame)
    admitted = admit(declared(MountSample), frame)
    assert admitted.frame.equals(good.sort(declared(MountSample).order))
    assert admitted.rejected.height == len(failure)


def test_many_rows_sort_and_count_as_few() -> None:
    count = 60_000
    frame = pl.DataFrame(
        {
            "label": [f"n{(index * 7919) % 97}" for index in range(count)],
            "at": pl.Series([(index * 104_729) % 5_003 for index in range(count)]).cast(pl.Datetime("us", "UTC")),
        }
    ).with_row_index("place")
    assert arranged(frame, ["label", "at", "place"]).equals(frame.sort("label", "at", "place"))
    assert has_repeats(frame, ["label", "at"]) is bool(frame.select("label", "at").is_duplicated().any())
    assert has_repeats(frame.with_columns(pl.col("place").cast(pl.Int64)), ["place", "label"]) is False


def test_replacing_never_converts_money(store: Store) -> None:
    row = dict.fromkeys(CostHour.columns(), "") | {
        "hour_start": AT, "billing_period_start": AT.replace(day=1, hour=0), "is_estimated": False, "in_scope": True,
    }  # fmt: skip
    money = {name: None for name, column in CostHour.columns().items() if column.dtype == pl.Decimal(38, 18)}
    frame = to_frame(CostHour, [row | money]).with_columns(pl.lit(1.5).alias("billed_cost"))
    with pytest.raises(ContractError, match="cost_hour: billed_cost: found Float64"):
        store.replace(CostHour, frame, partitions=["2026-11"])


@pytest.mark.parametrize(
    ("values", "is_good"),
    [
        ([], True),
        ([None, None], True),
        ([1.0, None, -2.5], True),
        ([1e308, 1e308], True),
        ([-1e308, -1e308, None], True),
        ([math.nan], False),
        ([None, math.inf], False),
        ([math.inf, -math.inf, 1.0], False),
        ([1e308, 1e308, math.nan], False),
    ],
)
def test_numbers_are_told_from_what_is_none(values: list[float | None], is_good: bool) -> None:
    assert is_finite(pl.Series("a", values, dtype=pl.Float64)) == is_good
