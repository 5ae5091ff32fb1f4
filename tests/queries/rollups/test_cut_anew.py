"""A device that is cut anew inside an hour: its slices and its rest are one device before, then, and after."""

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl
import pytest

from ledger.tables import Gpu, GpuMinute, GpuProcessSample, GpuStateInterval, Job, JobGpu, Node
from queries.graph import Span
from queries.rollups._boards import with_board_energy
from queries.rollups._naming import Naming
from queries.rollups._timeline import DEVICE
from queries.rollups.gpu_hour import gpu_hour
from queries.rollups.job_gpu_hour import job_gpu_hour
from tests.bills import HOUR, MONTH, at, job, node, rows
from tests.frames import empty

H = at(5, 10)
MINUTE = timedelta(minutes=1)
CUT = H + timedelta(minutes=30)
END = H + 2 * HOUR

# 1g and nothing else until half past, then 1g beside 4g: the rest is six sevenths first, two later.
PIECES = (
    ("m1", "0.142857", H, None),
    ("rest", "0.857143", H, CUT),
    ("m4", "0.571429", CUT, None),
    ("rest", "0.285714", CUT, None),
)


def place(uuid: str) -> dict[str, Any]:
    return {"cluster": "c", "node": "a1", "gpu_uuid": uuid}


def inventory() -> pl.DataFrame:
    return rows(
        Gpu,
        [
            place(uuid)
            | {
                "exists_start": start,
                "exists_end": end,
                "parent_gpu_uuid": "GPU-a",
                "gpu_fraction": Decimal(part),
            }
            for uuid, part, start, end in PIECES
        ],
    )


def intervals() -> pl.DataFrame:
    found = []
    for uuid, _, start, end in PIECES:
        edges = [start, *(each for each in (H + HOUR,) if start < each < (end or END)), end or END]
        found += [
            place(uuid)
            | {
                "started_at": low,
                "ended_at": high,
                "state": "unallocated" if uuid == "rest" else "productive",
                "job_id": "" if uuid == "rest" else "7",
                "is_observed": True,
                "evidence_quality": "A",
                "holder_count": 0 if uuid == "rest" else 1,
                "rule_version": "1",
            }
            for low, high in pairwise(edges)
        ]
    return rows(GpuStateInterval, found)


def minutes() -> pl.DataFrame:
    """Return what is told of each minute: by the board's own meter, and by what its slices did."""
    found = []
    for number in range(120):
        start = H + number * MINUTE
        here = [uuid for uuid, _, since, until in PIECES if since <= start and (until is None or start < until)]
        found += [place(uuid) | {"energy_joules": None} for uuid in here]
        found.append(place("GPU-a") | {"energy_joules": 18_000.0 + number})
        for row in found[-len(here) - 1 :]:
            row |= {"minute_start": start, "observed_seconds": Decimal(60), "power_capped_seconds": Decimal(0)}
    return rows(GpuMinute, found)


def device_hours() -> pl.DataFrame:
    return gpu_hour.function(intervals().lazy(), minutes().lazy(), inventory().lazy()).collect()


def seconds(frame: pl.DataFrame, *columns: str) -> dict[datetime, Decimal]:
    """Return device time in seconds of a whole device, by hour."""
    own = pl.sum_horizontal(columns) * pl.col("gpu_fraction")
    return dict(frame.group_by("hour_start").agg(own.sum().round(6)).sort("hour_start").iter_rows())


def test_slices_and_rest_are_one_device_in_each_hour() -> None:
    found = device_hours()
    assert seconds(found, "existed_seconds") == {H: pytest.approx(3600, abs=0.004), H + HOUR: 3600}
    parts = dict(found.filter(hour_start=H).select("gpu_uuid", "gpu_fraction").iter_rows())
    assert parts == {
        "m1": Decimal("0.142857"),
        "m4": Decimal("0.571429"),
        # Half an hour of six sevenths and half an hour of two.
        "rest": Decimal("0.571429"),
    }


def test_a_job_has_the_part_that_its_device_has() -> None:
    devices = device_hours()
    holdings = [
        place(uuid) | {"job_id": "7", "submitted_at": H, "restart_count": 0, "held_start": start, "held_end": None}
        for uuid, start in (("m1", H), ("m4", CUT))
    ]
    held = job_gpu_hour.function(
        intervals=intervals().lazy(),
        minutes=minutes().lazy(),
        holdings=rows(JobGpu, holdings).lazy(),
        jobs=rows(Job, [job("7", submitted_at=H)]).lazy(),
        gpus=inventory().lazy(),
        nodes=rows(Node, [node(holder="scheduler")]).lazy(),
        processes=empty(GpuProcessSample).lazy(),
        span=Span(H, END, END),
        naming=Naming(),
    ).collect()
    mine = devices.filter(pl.col("gpu_uuid") != "rest")
    assert seconds(held, "productive_seconds") == seconds(mine, "productive_seconds")
    assert held.height == mine.height == 4
    both = held.join(mine, on=[*DEVICE, "hour_start"])
    assert both["energy_joules"].to_list() == pytest.approx(both["energy_joules_right"].to_list())


def test_slices_and_rest_drew_what_their_board_measured() -> None:
    """A board has one meter and tells it under its own name, which is no device while it is cut."""
    board = minutes().filter(gpu_uuid="GPU-a").group_by("minute_start").agg(pl.col("energy_joules").sum())
    whole = board["energy_joules"].sum()
    found = device_hours()
    assert found["energy_joules"].null_count() == 0
    assert found["energy_joules"].sum() == pytest.approx(whole)
    second = found.filter(hour_start=H + HOUR)
    drawn = dict(second.select("gpu_uuid", "energy_joules").iter_rows())
    assert drawn["m4"] / drawn["m1"] == pytest.approx(4, rel=1e-4)
    # Its first half hour is the one slice's and a large rest's.
    first = dict(found.filter(hour_start=H).select("gpu_uuid", "energy_joules").iter_rows())
    assert first["m4"] == pytest.approx(0.571429 * sum(18_000 + number for number in range(30, 60)))


def test_a_minute_in_which_the_board_was_whole_is_the_boards() -> None:
    whole = place("GPU-a") | {"exists_start": MONTH, "exists_end": H, "parent_gpu_uuid": "", "gpu_fraction": Decimal(1)}
    earlier = minutes().with_columns(pl.col("minute_start") - MINUTE)
    gpus = pl.concat([inventory().with_columns(pl.col("exists_start") - MINUTE / 2), rows(Gpu, [whole])])
    found = with_board_energy(earlier, gpus).filter(pl.col("minute_start") == H - MINUTE)
    assert dict(found.select("gpu_uuid", "energy_joules").iter_rows()) == {"GPU-a": 18_000, "m1": None, "rest": None}


def test_slices_with_a_meter_of_their_own_keep_what_it_says() -> None:
    own = minutes().with_columns(pl.when(gpu_uuid="m1").then(7.0).otherwise("energy_joules").alias("energy_joules"))
    found = with_board_energy(own, inventory())
    assert found.filter(gpu_uuid="m1")["energy_joules"].unique().to_list() == [7.0]
    assert found.drop("energy_joules").equals(own.drop("energy_joules"))
    assert with_board_energy(own, inventory().clear()).equals(own)
