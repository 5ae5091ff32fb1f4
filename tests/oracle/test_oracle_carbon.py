"""Carbon by job, model and team of drawn devices, read literally: energy, times overhead, times grid; and faults."""

import random
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import cache
from math import isclose
from typing import Any, NamedTuple

import polars as pl
import pytest

from ledger.tables import Asset, GpuHour, JobGpuHour, Node, NodeEnergyHour
from queries.graph import Span
from queries.rollups.carbon_day import Carbon, Site, carbon_day
from tests.bills import HOUR, at, device_hour, job_hour, node, rows
from tests.oracle.faults import Fault, Tables, not_read, read_as
from tests.oracle.searching import CI

DEVICES = 600 if CI else 150
START = at(4)
DAYS = 3
KILOWATT_HOUR = 3_600_000

# By region: what the site adds to its machines' energy, and the grams of a kilowatt-hour, each from a day on.
OVERHEAD = {"fra": ((date(2026, 1, 1), 1.5),), "iad": ((date(2026, 1, 1), 1.1), (date(2026, 3, 5), 1.2)), "osl": ()}
GRID = {"fra": ((date(2026, 1, 1), 400.0), (date(2026, 3, 6), 300.0)), "iad": ((date(2026, 3, 5), 350.0),), "osl": ()}
REGIONS = tuple(OVERHEAD)

SITES = tuple(
    Site(region=region, since=since, **{name: value})
    for name, figures in (("pue_ratio", OVERHEAD), ("grid_grams_per_kilowatt_hour", GRID))
    for region, known in figures.items()
    for since, value in known
)


class Key(NamedTuple):
    """Whose energy it is."""

    day: date
    region: str
    job: str
    team: str
    model: str


@cache
def drawn() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Draw hours of devices and of the jobs on them: alone, shared, in part, or not measured."""
    draw = random.Random(6)  # noqa: S311  seeded, not secret
    devices, held = [], []
    for number in range(DEVICES):
        name, uuid, start = draw.choice(REGIONS), f"g{number}", START + draw.randrange(24 * DAYS) * HOUR
        energy = None if draw.random() < 0.1 else draw.uniform(0, 2e6)
        seconds = draw.choice((0, 1200, 3600))
        devices.append(device_hour(start, uuid, name, productive_seconds=seconds, energy_joules=energy))
        jobs = draw.choice((1, 2, 3)) if seconds else 0
        for index in range(jobs):
            mine = None if energy is None else energy * seconds / 3600 / jobs
            given = {
                "productive_seconds": seconds // jobs,
                "energy_joules": mine,
                "team": f"t{index}",
                "model": f"m{number % 3}",
            }
            held.append(job_hour(start, uuid, f"j{draw.randrange(9)}-{index}", name, **given))
    return devices, held


def tables() -> dict[str, pl.DataFrame]:
    devices, held = drawn()
    return {
        "gpu_hours": rows(GpuHour, devices),
        "job_hours": rows(JobGpuHour, held),
        "nodes": rows(Node, [node(each, region=each, provider="Lab") for each in REGIONS]),
        "assets": rows(Asset, []),
        "whole_nodes": rows(NodeEnergyHour, []),
    }


def figure(known: tuple[tuple[date, float], ...], day: date) -> float | None:
    return next((value for since, value in reversed(known) if since <= day), None)


def expected() -> dict[Key, tuple[float | None, float | None]]:
    """Return joules and grams by holder and day; energy that nobody held is nobody's."""
    devices, held = drawn()
    joules: dict[Key, list[float | None]] = {}
    taken: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in held:
        taken.setdefault((row["hour_start"], row["gpu_uuid"]), []).append(row)
        key = Key(row["hour_start"].date(), row["node"], row["job_id"], row["team"], row["model"])
        joules.setdefault(key, []).append(row["energy_joules"])
    for row in devices:
        mine = taken.get((row["hour_start"], row["gpu_uuid"]), [])
        time = 3600 - sum(int(each["productive_seconds"]) for each in mine)
        energy = row["energy_joules"]
        left = None if energy is None else energy - sum(each["energy_joules"] for each in mine)
        if time or (left is not None and left > 1e-9 * energy):
            joules.setdefault(Key(row["hour_start"].date(), row["node"], "", "", ""), []).append(left)
    found: dict[Key, tuple[float | None, float | None]] = {}
    for key, amounts in joules.items():
        known = [each for each in amounts if each is not None]
        overhead, grid = figure(OVERHEAD[key.region], key.day), figure(GRID[key.region], key.day)
        whole = sum(known) if known else None
        is_priced = whole is not None and overhead is not None and grid is not None
        found[key] = (whole, whole * overhead * grid / KILOWATT_HOUR if is_priced else None)  # type: ignore[operator]
    return found


def computed(given: Tables, sites: tuple[Site, ...] = SITES) -> pl.DataFrame:
    end = START + timedelta(days=DAYS)
    lazy = {name: each.lazy() for name, each in given.items()}
    return carbon_day.function(**lazy, span=Span(START, end, end), settings=Carbon(sites=sites)).collect()


def check(found: pl.DataFrame) -> None:
    told = {
        Key(row["day"], row["region"], row["job_id"], row["team"], row["model"]): (
            row["energy_joules"],
            row["carbon_grams"],
        )
        for row in found.iter_rows(named=True)
    }
    wanted = expected()
    assert len(told) == found.height
    assert told.keys() == wanted.keys()
    for key, amounts in wanted.items():
        for one, other in zip(told[key], amounts, strict=True):
            same = one is other if one is None or other is None else isclose(one, other, rel_tol=1e-9, abs_tol=1e-6)
            assert same, (key, told[key], amounts)


def test_each_job_emits_what_a_plain_reading_says() -> None:
    check(computed(tables()))
    grams = [grams for _, grams in expected().values()]
    assert None in grams
    assert sum(each is not None for each in grams) > DEVICES // 4


FAULTS: Mapping[str, Fault] = {
    "what is not measured is nothing": read_as("job_hours", energy_joules=pl.col("energy_joules").fill_null(0.0)),
    "jobs drew nothing": read_as("job_hours", energy_joules=pl.lit(0.0)),
    "sharers draw all of it, each": read_as("job_hours", energy_joules=pl.col("energy_joules") * 2),
    "teams are one": read_as("job_hours", team=pl.lit("t0")),
    "models are one": read_as("job_hours", model=pl.lit("m0")),
    "regions are one": read_as("nodes", region=pl.lit("fra")),
    "an hour is of the day before": read_as("gpu_hours", hour_start=pl.col("hour_start").dt.offset_by("-1h")),
    "jobs are not seen": not_read("job_hours"),
    "a device is lost": lambda made: {**made, "gpu_hours": made["gpu_hours"].slice(1)},
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_what_was_measured_turns_the_comparison_red(name: str) -> None:
    with pytest.raises(AssertionError):
        check(computed(FAULTS[name](tables())))


@pytest.mark.parametrize("kind", ["pue_ratio", "grid_grams_per_kilowatt_hour"])
@pytest.mark.parametrize("fault", ["lost", "of the first day", "a little more"])
def test_another_figure_turns_the_comparison_red(kind: str, fault: str) -> None:
    changes: dict[str, Callable[[Site], Site | None]] = {
        "lost": lambda _: None,
        "of the first day": lambda site: site.model_copy(update={"since": date(1970, 1, 1)}),
        "a little more": lambda site: site.model_copy(update={kind: getattr(site, kind) * 1.001}),
    }
    wrong = [changes[fault](each) if getattr(each, kind) is not None else each for each in SITES]
    with pytest.raises(AssertionError):
        check(computed(tables(), tuple(each for each in wrong if each is not None)))
