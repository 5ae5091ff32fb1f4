from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from ledger.tables import BlockDeviceSample, MountSample, StorageDay, StorageDeviceHour
from queries.graph import Span
from queries.rollups.storage_day import storage_day
from queries.rollups.storage_device_hour import storage_device_hour
from tests.frames import validated

DAY = datetime(2026, 11, 20, tzinfo=UTC)
NODE = {"cluster": "c", "node": "n", "boot_id": "b", "step_seconds": 60.0}


def frame(schema: type[dy.Schema], rows: Sequence[Mapping[str, Any]]) -> pl.LazyFrame:
    types = schema.create_empty().schema
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in types}, schema=types, strict=False).lazy()


def at(minutes: float) -> datetime:
    return DAY + timedelta(minutes=minutes)


def days(
    devices: Sequence[Mapping[str, Any]] = (), mounts: Sequence[Mapping[str, Any]] = (), count: int = 1
) -> list[dict[str, Any]]:
    span = Span(DAY, DAY + timedelta(days=count), DAY + timedelta(days=9))
    hours = storage_device_hour.function(frame(BlockDeviceSample, devices), frame(MountSample, mounts), span).collect()
    rows = storage_day.function(validated(StorageDeviceHour, hours).lazy()).collect()
    return validated(StorageDay, rows).sort("day", "device").to_dicts()


def block(minutes: float, **counters: float) -> dict[str, Any]:
    return {**NODE, "sampled_at": at(minutes), "device": "nvme0n1", **counters}


def mount(minutes: float, **values: Any) -> dict[str, Any]:
    return {**NODE, "sampled_at": at(minutes), "mount_point": "/data", "filesystem_type": "nfs4", **values}


def test_a_block_device_has_traffic_latency_and_active_time() -> None:
    first = {"read_bytes_total": 0.0, "read_count_total": 10.0, "read_seconds_total": 1.0, "io_seconds_total": 0.0}
    second = {"read_bytes_total": 600.0, "read_count_total": 14.0, "read_seconds_total": 3.0, "io_seconds_total": 30.0}
    (row,) = days(devices=[block(0, **first), block(1, **second)])
    assert (row["day"], row["mount_point"], row["device"]) == (date(2026, 11, 20), "", "nvme0n1")
    assert (row["read_bytes"], row["written_bytes"], row["read_latency_seconds"]) == (600.0, None, 0.5)
    assert (row["io_active_ratio"], row["observed_seconds"], row["used_bytes"]) == (0.5, Decimal(60), None)


def test_milliseconds_in_32_bits_wrap() -> None:
    top = (2**32 - 1) / 1000
    rows = days(
        devices=[
            block(0, read_seconds_total=top - 1.0, read_count_total=0.0),
            block(1, read_seconds_total=0.999, read_count_total=2.0),
        ]
    )
    assert rows[0]["read_latency_seconds"] == pytest.approx(1.0, rel=1e-6)


def test_a_file_system_keeps_its_fullest_moment_and_its_last_size() -> None:
    (row,) = days(
        mounts=[
            mount(0, device="fs:/a", capacity_bytes=100.0, free_bytes=20.0, is_responding=True),
            mount(1, device="fs:/a", is_responding=False),
            mount(2, device="fs:/a", capacity_bytes=200.0, free_bytes=150.0, is_responding=True),
        ]
    )
    assert (row["capacity_bytes"], row["used_bytes"], row["unresponsive_count"]) == (200.0, 80.0, 1)
    assert (row["filesystem_type"], row["read_bytes"], row["io_active_ratio"]) == ("nfs4", None, None)


def test_a_mount_without_a_device_has_an_empty_one() -> None:
    (row,) = days(mounts=[mount(0, capacity_bytes=1.0, free_bytes=0.0)])
    assert (row["device"], row["observed_seconds"]) == ("", 0)


def test_a_step_over_midnight_counts_to_the_day_in_which_it_ends() -> None:
    rows = days(devices=[block(1439.5, read_bytes_total=5.0), block(1440.5, read_bytes_total=9.0)], count=2)
    assert [row["read_bytes"] for row in rows] == [None, 4.0]


def test_hours_of_a_day_are_added_up() -> None:
    """The mean of a read is that of all reads, and active time is held against the time that it was counted in."""
    names = ("read_bytes_total", "read_count_total", "read_seconds_total", "io_seconds_total")
    told = [(0, (0.0, 0.0, 0.0, 0.0)), (1, (600.0, 1.0, 1.0, 60.0)), (61, (600.0, 1.0, 1.0, 60.0))]
    told += [(62, (700.0, 4.0, 1.5, 90.0)), (63, (900.0, 4.0, 1.5, None))]
    (row,) = days(devices=[block(at, **dict(zip(names, values, strict=True))) for at, values in told])
    assert (row["read_bytes"], row["read_latency_seconds"], row["observed_seconds"]) == (900.0, 1.5 / 4, Decimal(180))
    assert row["io_active_ratio"] == pytest.approx(90 / 120)


def test_a_file_system_has_the_size_of_its_last_hour_and_the_use_of_its_fullest() -> None:
    sizes = [(0, 100.0, 20.0, True), (61, 200.0, 150.0, False), (121, None, None, False)]
    (row,) = days(
        mounts=[
            mount(at, device="fs:/a", capacity_bytes=size, free_bytes=free, is_responding=responds)
            for at, size, free, responds in sizes
        ]
    )
    assert (row["capacity_bytes"], row["used_bytes"], row["unresponsive_count"]) == (200.0, 80.0, 2)


def test_no_samples_give_no_rows() -> None:
    assert days() == []
