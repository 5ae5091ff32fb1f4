import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import dataframely as dy
import polars as pl
import pytest
from pydantic import BaseModel, ConfigDict

from ledger.config import Settings
from ledger.errors import ConfigError, ContractError
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import Finding, Gpu, GpuHour, NetworkHour, NetworkPortSample, Price, StorageDay, UnbilledHour
from ledger.tables.partition import EDGE, Timed, declared
from queries._work import together
from queries.executor import Ran, run_due
from queries.graph import Input, Rollup, Span, load, rollup
from queries.retention import expire

HOUR = timedelta(hours=1)
DAY = datetime(2026, 11, 2, tzinfo=UTC)
NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)


class Scale(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    factor_count: int = 1


calls: list[Span] = []


@rollup()
def network_hour(
    samples: Annotated[dy.LazyFrame[NetworkPortSample], Input(before=timedelta(minutes=1))], scale: Scale, span: Span
) -> dy.LazyFrame[NetworkHour]:
    """Sum a counter's samples, to see which hours were computed."""
    calls.append(span)
    mine = samples.filter(pl.col("sampled_at") >= span.start)
    return mine.group_by(
        pl.col("sampled_at").dt.truncate("1h").alias("hour_start"), "cluster", "node", "device", "port"
    ).agg(
        transmit_bytes=pl.col("transmit_bytes_total").sum() * scale.factor_count,
        reset_count=pl.lit(0, pl.Int64),
        observed_seconds=pl.len().cast(pl.Decimal(18, 3)),
    )


@rollup()
def storage_day(hours: dy.LazyFrame[NetworkHour], prices: dy.LazyFrame[Price]) -> dy.LazyFrame[StorageDay]:
    """Count the hours of a day, and the prices of all time."""
    known = prices.select(pl.len().cast(pl.Float64).alias("capacity_bytes"))
    days = hours.group_by(pl.col("hour_start").dt.date().alias("day"), "cluster", "node", "device").agg(
        read_bytes=pl.col("transmit_bytes").sum(), unresponsive_count=pl.len().cast(pl.Int64)
    )
    return days.join(known, how="cross").with_columns(
        mount_point=pl.lit(""), observed_seconds=pl.lit(0).cast(pl.Decimal(18, 3))
    )


def _rollups() -> list[Rollup]:
    return [network_hour, storage_day]


@pytest.fixture
def store() -> Iterator[Store]:
    calls.clear()
    with Store.open("duckdb::memory:", now=lambda: NOW) as opened:
        yield opened


def sample(at: datetime, value: float = 1.0, node: str = "n") -> dict[str, Any]:
    return {
        "sampled_at": at,
        "cluster": "c",
        "node": node,
        "device": "eth0",
        "port": "1",
        "transmit_bytes_total": value,
    }


def put(store: Store, *rows: dict[str, Any]) -> None:
    store.append(NetworkPortSample, to_frame(NetworkPortSample, rows), source="test")


def run(store: Store, **more: Any) -> dict[str, Ran]:
    given = {"rollups": _rollups(), **more}
    return {each.rollup: each for each in run_due(store, given.pop("settings", Settings()), **given)}


def test_what_has_rows_is_computed_once(store: Store) -> None:
    put(store, sample(DAY), sample(DAY + HOUR), sample(DAY + 30 * HOUR))
    first = run(store)
    assert (first["network_hour"].partitions, first["storage_day"].partitions) == (3, 2)
    # Two stretches are computed at a time: which of them begins first is chance.
    spans = sorted((each.start, each.end) for each in calls)
    assert spans == [(DAY, DAY + 2 * HOUR), (DAY + 30 * HOUR, DAY + 31 * HOUR)]
    assert store.read(StorageDay)["unresponsive_count"].to_list() == [2, 1]
    second = run(store)
    assert {each.partitions for each in second.values()} == {0}


def test_a_late_row_makes_its_hour_and_its_day_due_and_nothing_else(store: Store) -> None:
    put(store, sample(DAY), sample(DAY + 5 * HOUR), sample(DAY + 30 * HOUR))
    run(store)
    calls.clear()
    put(store, sample(DAY + 5 * HOUR + timedelta(minutes=3), 4.0))
    again = run(store)
    # The hour behind reads one minute back, so it is computed too where it has rows; here it has none.
    assert [(each.start, each.end) for each in calls] == [(DAY + 5 * HOUR, DAY + 6 * HOUR)]
    assert (again["network_hour"].partitions, again["storage_day"].partitions) == (1, 1)
    assert store.read(NetworkHour)["transmit_bytes"].to_list() == [1.0, 5.0, 1.0]


def test_rollups_that_do_not_read_each_other_are_computed_side_by_side(store: Store) -> None:
    """Both wait until the other has begun: one after the other they would wait in vain."""
    here = threading.Barrier(2, timeout=60)

    def network_hour(samples: dy.LazyFrame[NetworkPortSample], scale: Scale, span: Span) -> dy.LazyFrame[NetworkHour]:
        here.wait()
        return summed(samples, scale, span)

    def unbilled_hour(samples: dy.LazyFrame[NetworkPortSample]) -> dy.LazyFrame[UnbilledHour]:
        here.wait()
        return UnbilledHour.create_empty(lazy=True)

    put(store, sample(DAY))
    ran = run_due(store, Settings(), rollups=[rollup()(network_hour), rollup()(unbilled_hour), storage_day])
    assert [(each.rollup, each.partitions, each.rows) for each in ran] == [
        ("network_hour", 1, 1),
        ("unbilled_hour", 1, 0),
        ("storage_day", 1, 1),
    ]


@pytest.mark.parametrize(("before", "reads"), [(timedelta(minutes=1), 1), (timedelta(minutes=2), 2)])
def test_rows_that_two_rollups_read_alike_are_read_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, before: timedelta, reads: int
) -> None:
    """Each has the columns that it asked for, of the rows that it asked for."""
    read = store.read
    asked: list[tuple[str, ...]] = []
    seen: dict[str, tuple[list[str], int]] = {}
    place = ("sampled_at", "cluster", "node", "device", "port")

    def watched(schema: type[dy.Schema], *more: Any, **others: Any) -> pl.DataFrame:
        if schema is NetworkPortSample:
            asked.append(others["columns"])
        return read(schema, *more, **others)

    def network_hour(
        samples: Annotated[
            dy.LazyFrame[NetworkPortSample],
            Input(before=timedelta(minutes=1), columns=(*place, "transmit_bytes_total"), coded=("node",)),
        ],
        scale: Scale,
        span: Span,
    ) -> dy.LazyFrame[NetworkHour]:
        seen["network_hour"] = (samples.collect_schema().names(), samples.collect().height)
        return summed(samples.with_columns(pl.col("node").cast(pl.String)), scale, span)

    def gpu_hour(
        samples: Annotated[
            dy.LazyFrame[NetworkPortSample],
            Input(before=before, columns=(*place, "receive_bytes_total"), coded=("node",), fills=False),
        ],
        others: dy.LazyFrame[NetworkPortSample],
    ) -> dy.LazyFrame[GpuHour]:
        seen["gpu_hour"] = (samples.collect_schema().names(), samples.collect().height)
        return GpuHour.create_empty(lazy=True)

    put(store, sample(DAY - timedelta(seconds=90)), sample(DAY - timedelta(seconds=30)), sample(DAY))
    monkeypatch.setattr(store, "read", watched)
    run_due(store, Settings(), rollups=[rollup()(network_hour), rollup()(gpu_hour)], since=DAY)
    assert store.read(NetworkHour)["transmit_bytes"].to_list() == [1.0]
    assert seen == {
        "network_hour": ([*place, "transmit_bytes_total"], 2),
        "gpu_hour": ([*place, "receive_bytes_total"], 2 if reads == 1 else 3),
    }
    assert asked.count(()) == 1, "what is read whole is read by itself"
    assert len(asked) == reads + 1


def test_which_rollups_run_together() -> None:
    names = [[each.name for each in group] for group in together(load())]
    place = {name: index for index, group in enumerate(names) for name in group}
    assert place["gpu_minute"] == place["gpu_state_interval"] < place["gpu_hour"] <= place["job_gpu_hour"]
    for group in together(load()):
        writes = {each.schema for each in group}
        for each in group:
            reads = {source.schema for source in each.sources}
            assert not reads & (writes - {each.schema})
            assert len(group) == 1 or each.schema not in reads, "what reads its own rows runs alone"


def test_the_next_hour_is_due_when_it_looks_back(store: Store) -> None:
    put(store, sample(DAY), sample(DAY + HOUR))
    run(store)
    put(store, sample(DAY + timedelta(minutes=59)))
    assert run(store)["network_hour"].partitions == 2


@rollup(rows_at_once=1)
def looking_ahead(
    samples: Annotated[dy.LazyFrame[NetworkPortSample], Input(after=EDGE)], span: Span
) -> dy.LazyFrame[NetworkHour]:
    """Sum what each hour sees of itself and of the first minutes of the next."""
    calls.append(span)
    return samples.group_by("cluster", "node", "device", "port").agg(
        hour_start=pl.lit(span.start),
        transmit_bytes=pl.col("transmit_bytes_total").sum(),
        reset_count=pl.lit(0, pl.Int64),
        observed_seconds=pl.len().cast(pl.Decimal(18, 3)),
    )


def seen(store: Store) -> list[datetime]:
    """Run what looks ahead, and return the hours that were due."""
    calls.clear()
    run(store, rollups=[looking_ahead])
    return sorted(each.start for each in calls)


def test_an_hour_that_looks_ahead_is_due_by_the_first_minutes_of_the_next_alone(store: Store) -> None:
    put(store, sample(DAY))
    assert seen(store) == [DAY]
    put(store, sample(DAY + HOUR))
    assert seen(store) == [DAY, DAY + HOUR]
    put(store, sample(DAY + HOUR + EDGE), sample(DAY + HOUR + 2 * EDGE))
    assert seen(store) == [DAY + HOUR], "the hour before reads nothing of them"
    put(store, sample(DAY + HOUR + EDGE - timedelta(milliseconds=1), node="late"), sample(DAY + HOUR + 3 * EDGE))
    assert seen(store) == [DAY, DAY + HOUR]
    assert seen(store) == []
    hour = to_frame(NetworkPortSample, [sample(DAY + HOUR, value=3.0)])
    store.replace(NetworkPortSample, hour, partitions=[f"{DAY + HOUR:%Y-%m-%dT%H}"])
    assert seen(store) == [DAY, DAY + HOUR], "what takes the place of an hour takes that of its first minutes"


def test_an_hour_without_rows_in_its_first_minutes_counts_as_a_whole(store: Store) -> None:
    put(store, sample(DAY), sample(DAY + HOUR + EDGE))
    seen(store)
    put(store, sample(DAY + HOUR + 2 * EDGE))
    assert seen(store) == [DAY, DAY + HOUR], "as where edges had no versions yet"


def test_no_input_of_samples_reads_further_ahead_than_an_edge() -> None:
    ahead = [
        (each.name, source.parameter, source.read.after, declared(source.schema))
        for each in load()
        for source in each.sources
        if source.read.after and declared(source.schema).group == "sample"
    ]
    assert len(ahead) >= 8
    for name, parameter, after, table in ahead:
        assert isinstance(table.partition, Timed)
        assert after <= table.partition.edge, f"{name}: {parameter}: its last hour would be due for another hour"


def test_the_same_rows_again_make_nobody_behind_due(store: Store) -> None:
    put(store, sample(DAY))
    run(store)
    forced = run(store, everything=True, only=["network_hour"])
    assert forced["network_hour"].partitions == 1
    assert run(store)["storage_day"].partitions == 0


def test_a_setting_makes_its_rollup_due_and_those_whose_rows_changed(store: Store) -> None:
    put(store, sample(DAY))
    run(store)
    changed = run(store, settings=Settings(rollups={"scale": {"factor_count": 3}}))
    assert (changed["network_hour"].partitions, changed["storage_day"].partitions) == (1, 1)
    assert store.read(NetworkHour)["transmit_bytes"].to_list() == [3.0]


def test_other_code_makes_its_rollup_due(store: Store) -> None:
    put(store, sample(DAY))
    run(store)
    newer = [replace(network_hour, version=2), storage_day]
    changed = {each.rollup: each.partitions for each in run_due(store, Settings(), rollups=newer)}
    assert changed == {"network_hour": 1, "storage_day": 0}


def test_a_table_without_time_concerns_every_partition(store: Store) -> None:
    put(store, sample(DAY), sample(DAY + 30 * HOUR))
    run(store)
    price = {
        "provider": "p",
        "region": "",
        "instance_type": "i",
        "price_category": "on_demand",
        "billing_currency": "USD",
        "valid_start": DAY,
        "unit_price": Decimal(1),
    }
    store.append(Price, to_frame(Price, [price]), source="test")
    assert {name: each.partitions for name, each in run(store).items()} == {"network_hour": 0, "storage_day": 2}


def test_since_and_until_limit_what_is_computed(store: Store) -> None:
    put(store, *(sample(DAY + place * HOUR) for place in range(6)))
    assert run(store, since=DAY + 2 * HOUR, until=DAY + 4 * HOUR)["network_hour"].partitions == 2
    assert run(store)["network_hour"].partitions == 4


def test_a_partition_without_rows_is_not_due_again(store: Store) -> None:
    @rollup()
    def nothing(samples: dy.LazyFrame[NetworkPortSample]) -> dy.LazyFrame[NetworkHour]:
        assert samples.collect().height
        return NetworkHour.create_empty().lazy()

    empty = replace(nothing, name="network_hour")
    put(store, sample(DAY))
    assert run_due(store, Settings(), rollups=[empty])[0].partitions == 1
    assert run_due(store, Settings(), rollups=[empty])[0].partitions == 0


def test_sealed_partitions_are_left_alone_and_named_only_if_asked_for(store: Store) -> None:
    put(store, *(sample(DAY + place * HOUR) for place in range(3)))
    run(store)
    store.seal("network_hour", ["2026-11-02T00", "2026-11-02T01"])
    put(store, sample(DAY + timedelta(minutes=5)), sample(DAY + 2 * HOUR + timedelta(minutes=5)))
    silent = run(store)["network_hour"]
    assert (silent.partitions, silent.skipped_sealed) == (1, ())
    asked = run(store, everything=True)
    assert asked["network_hour"].partitions == 1
    (words,) = asked["network_hour"].skipped_sealed
    assert words.startswith("network_hour: 2 partitions from 2026-11-02T00 to 2026-11-02T01 are sealed")
    assert asked["storage_day"].partitions == 1


def test_expired_rows_leave_what_was_computed_from_them(store: Store) -> None:
    old, new = NOW - timedelta(days=20), NOW - timedelta(days=2)
    put(store, sample(old), sample(new))
    run(store)
    before = store.read(NetworkHour)
    gone = expire(store, Settings(), now=NOW, rollups=_rollups())
    assert gone["network_port_sample"] == 1
    assert store.read(NetworkPortSample)["sampled_at"].to_list() == [new]
    assert {each.partitions for each in run(store).values()} == {0}
    changed = run(store, settings=Settings(rollups={"scale": {"factor_count": 3}}))
    assert changed["network_hour"].partitions == 1
    after = store.read(NetworkHour)
    assert after.filter(pl.col("hour_start") < new - HOUR).equals(before.filter(pl.col("hour_start") < new - HOUR))
    assert store.read(StorageDay).height == 2


def test_a_stop_leaves_old_rows_to_the_next_time_and_what_reads_them_sealed(store: Store) -> None:
    put(store, sample(NOW - timedelta(days=20)), sample(NOW - timedelta(days=2)))
    run(store)
    gone = expire(store, Settings(), now=NOW, rollups=_rollups(), stop=lambda: True)
    assert set(gone.values()) == {0}
    assert store.read(NetworkPortSample).height == 2
    assert [state.is_sealed for state in store.versions("network_hour").values()] == [True, False]
    assert expire(store, Settings(), now=NOW, rollups=_rollups())["network_port_sample"] == 1


def test_stop_ends_between_calls_and_keeps_what_is_done(store: Store) -> None:
    put(store, sample(DAY), sample(DAY + 30 * HOUR))
    asked = iter([False, False, True, True, True])
    stopped = run(store, stop=lambda: next(asked))
    assert stopped["network_hour"].partitions == 1
    assert run(store)["network_hour"].partitions == 1


def test_progress_counts_partitions(store: Store) -> None:
    put(store, sample(DAY), sample(DAY + 30 * HOUR))
    seen: list[tuple[str, int, int]] = []
    run(store, progress=lambda *each: seen.append(each))
    assert seen == [("network_hour", 1, 2), ("network_hour", 2, 2), ("storage_day", 2, 2)]


def test_rows_outside_the_span_are_refused(store: Store) -> None:
    @rollup()
    def strays(samples: dy.LazyFrame[NetworkPortSample]) -> dy.LazyFrame[NetworkHour]:
        shifted = samples.with_columns(pl.col("sampled_at") + HOUR)
        return network_hour.function(shifted, Scale(), Span(DAY, DAY + HOUR, NOW))  # type: ignore[no-any-return]

    put(store, sample(DAY))
    with pytest.raises(ContractError, match="partition 2026-11-02T01"):
        run_due(store, Settings(), rollups=[replace(strays, name="network_hour")])


def test_an_open_interval_reaches_into_hours_that_nothing_else_has(store: Store) -> None:
    @rollup()
    def alive(gpus: dy.LazyFrame[Gpu], span: Span) -> dy.LazyFrame[NetworkHour]:
        calls.append(span)
        hours = pl.datetime_ranges(pl.lit(span.start), pl.lit(span.end), "1h", closed="left")
        rows = gpus.select(hour_start=hours, cluster="cluster", node="node", device="gpu_uuid").explode("hour_start")
        return rows.with_columns(  # type: ignore[return-value]
            port=pl.lit("1"), reset_count=pl.lit(0), observed_seconds=pl.lit(0).cast(pl.Decimal(18, 3))
        )

    gpu = {"cluster": "c", "node": "n", "gpu_uuid": "g", "exists_start": NOW - 3 * HOUR, "parent_gpu_uuid": ""}
    store.append(Gpu, to_frame(Gpu, [{**gpu, "gpu_fraction": Decimal(1)}]), source="test")
    each = replace(alive, name="network_hour")
    assert run_due(store, Settings(), rollups=[each])[0].partitions == 4
    assert run_due(store, Settings(), rollups=[each])[0].partitions == 0
    # A minute later the running hour is due; two hours later also those that began meanwhile.
    assert run_due(store, Settings(), rollups=[each], now=NOW + timedelta(minutes=1))[0].partitions == 1
    assert run_due(store, Settings(), rollups=[each], now=NOW + 2 * HOUR)[0].partitions == 3


def test_a_rule_writes_only_its_own_partition_and_keeps_what_it_said(store: Store) -> None:
    @rollup()
    def a_rule(
        days: Annotated[dy.LazyFrame[StorageDay], Input(recent=timedelta(days=30))],
        earlier: dy.LazyFrame[Finding],
        span: Span,
    ) -> dy.LazyFrame[Finding]:
        first = earlier.collect()["first_seen_at"].min()
        seen = pl.lit(first if isinstance(first, datetime) else span.now).cast(pl.Datetime("us", "UTC"))
        words = ("subject", "title", "cluster", "team", "directive", "may_be_wrong", "excludes")
        return (
            days.group_by("node")
            .agg(coverage_ratio=pl.lit(1.0))
            .select(
                pl.col("node").alias("finding_id"),
                pl.lit("a_rule").alias("rule"),
                *(pl.lit("x").alias(word) for word in words),
                pl.lit("open").alias("status"),
                pl.lit("low").alias("confidence"),
                pl.lit("{}").alias("evidence"),
                *(seen.alias(name) for name in ("first_seen_at", "evidence_start", "evidence_end")),
                pl.lit(1.0).alias("coverage_ratio"),
            )
        )

    put(store, sample(DAY))
    rollups = [*_rollups(), a_rule]
    assert [each.partitions for each in run_due(store, Settings(), rollups=rollups)] == [1, 1, 1]
    assert [each.partitions for each in run_due(store, Settings(), rollups=rollups)] == [0, 0, 0]
    later = NOW + timedelta(days=1)
    put(store, sample(DAY + 24 * HOUR, node="m"))
    assert [each.partitions for each in run_due(store, Settings(), rollups=rollups, now=later)] == [1, 1, 1]
    assert store.read(Finding)["first_seen_at"].to_list() == [NOW, NOW]


def test_settings_are_refused_with_where_they_stand(store: Store) -> None:
    put(store, sample(DAY))
    with pytest.raises(ConfigError, match=r"rollups\.scale\.factor_count: found 'x'"):
        run(store, settings=Settings(rollups={"scale": {"factor_count": "x"}}))
    with pytest.raises(ConfigError, match="found no_such_rollup, expected some of network_hour"):
        run(store, only=["no_such_rollup"])


summed = network_hour.function


def described() -> Rollup:
    """Return a rollup whose rows come from samples, and are described by the devices that there are."""

    def network_hour(
        samples: dy.LazyFrame[NetworkPortSample],
        gpus: Annotated[dy.LazyFrame[Gpu], Input(fills=False)],
        scale: Scale,
        span: Span,
    ) -> dy.LazyFrame[NetworkHour]:
        """Sum a counter's samples, and count devices as resets."""
        count = gpus.select(pl.len()).collect().item()
        rows = summed(samples, scale, span).collect()
        return rows.with_columns(reset_count=pl.lit(count, pl.Int64)).lazy()

    return rollup()(network_hour)


def exist(store: Store, start: datetime, end: datetime | None, model: str = "H100") -> None:
    gpu = {
        "cluster": "c",
        "node": "n",
        "gpu_uuid": "GPU-a",
        "parent_gpu_uuid": "",
        "exists_start": start,
        "exists_end": end,
        "gpu_fraction": Decimal(1),
        "gpu_model": model,
    }
    assert store.append(Gpu, to_frame(Gpu, [gpu]), source="test").rejected == 0


def test_rows_that_fill_nothing_cost_nothing(store: Store) -> None:
    exist(store, DAY, DAY + 300 * HOUR)
    assert run(store, rollups=[described()])["network_hour"].partitions == 0
    assert calls == []
    assert store.versions("network_hour") == {}
    put(store, sample(DAY + 5 * HOUR))
    assert run(store, rollups=[described()])["network_hour"].partitions == 1
    assert store.read(NetworkHour)["reset_count"].to_list() == [1]
    assert run(store, rollups=[described()])["network_hour"].partitions == 0


def test_a_change_of_rows_that_fill_nothing_makes_what_they_describe_due(store: Store) -> None:
    put(store, sample(DAY), sample(DAY + 5 * HOUR), sample(DAY + 9 * HOUR))
    run(store, rollups=[described()])
    assert store.read(NetworkHour)["reset_count"].to_list() == [0, 0, 0]
    exist(store, DAY + 4 * HOUR, DAY + 7 * HOUR)
    assert run(store, rollups=[described()])["network_hour"].partitions == 1
    assert store.read(NetworkHour)["reset_count"].to_list() == [0, 1, 0]
    exist(store, DAY + 4 * HOUR, DAY + 10 * HOUR)
    run(store, rollups=[described()])
    assert store.read(NetworkHour)["reset_count"].to_list() == [0, 1, 1]
    assert run(store, rollups=[described()])["network_hour"].partitions == 0


def test_hours_without_rows_are_sealed_with_the_others(store: Store) -> None:
    """A sample that comes after its time must not be told as the only one of an hour whose others are gone."""
    old = NOW - timedelta(days=40)
    exist(store, old, NOW)
    put(store, sample(old + 3 * HOUR))
    run(store, rollups=[described()])
    expire(store, Settings(), now=NOW, rollups=[described()])
    sealed = {key for key, state in store.versions("network_hour").items() if state.is_sealed}
    assert len(sealed) > 24 * 20
    put(store, sample(old + 5 * HOUR))
    assert run(store, rollups=[described()])["network_hour"].partitions == 0


def test_an_idle_run_reads_the_versions_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, sample(DAY), sample(DAY + 5 * HOUR))
    run(store)
    reads = []
    current = Store.current

    def counted(self: Store, table_name: str | None = None) -> Any:
        reads.append(table_name)
        return current(self, table_name)

    monkeypatch.setattr(Store, "current", counted)
    assert {each.partitions for each in run(store).values()} == {0}
    assert reads == [None]
    put(store, sample(DAY + 5 * HOUR + timedelta(minutes=3), 4.0))
    reads.clear()
    run(store)
    assert reads == [None, "network_hour", "storage_day"], "again after each write, and of what was written only"
