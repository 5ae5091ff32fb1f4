"""The decision, walked over every combination of evidence, against a plain reading of the ledger's table."""

from itertools import product

import polars as pl
import pytest
from pydantic import ValidationError

from ledger.names import STATES
from queries.rollups._decision import (
    ENGINES,
    Thresholds,
    activity,
    decide,
    power_proxy,
    quality,
    rule_version,
)

SEEN = ("nothing", "status", "sample")
HELD = ("nobody", "job", None)
ACTIVITY = ("idle", "underused", "busy", None)
MAYBE = (True, False, None)


def state_of(  # noqa: C901, PLR0911  one return per row of the table
    seen: str,
    fault: bool,
    drained: bool,
    held: str | None,
    holder_process: bool | None,
    stray: bool | None,
    memory: bool | None,
    active: str | None,
    throttled: bool,
) -> str:
    """Return the state by the first row that matches."""
    if seen == "nothing":
        return "unknown"
    if fault or (drained and held == "nobody"):
        return "faulty"
    if stray is True and holder_process is False:
        return "orphaned"
    busy = active in {"busy", "underused"}
    if held == "nobody" and stray is not True:
        if holder_process is False:
            return "unallocated"
        if holder_process is None and not busy:
            return "unallocated"
    if held == "job":
        if holder_process is False:
            return "allocated_idle"
        if active == "idle":
            if holder_process is None and memory is not True:
                return "allocated_idle"
            return "held_idle"
    if busy:
        if throttled:
            return "throttled"
        return "underused" if active == "underused" else "productive"
    return "unknown"


def test_every_combination_of_evidence_is_decided_as_the_table_says() -> None:
    evidence = list(product(SEEN, (True, False), (True, False), HELD, MAYBE, MAYBE, MAYBE, ACTIVITY, (True, False)))
    assert len(evidence) == 3 * 2 * 2 * 3 * 3 * 3 * 3 * 4 * 2
    names = ("seen", "is_fault", "is_drained", "held", "has_holder_process", "has_stray_process", "is_memory_held")
    columns = list(zip(*evidence, strict=True))
    frame = pl.DataFrame(
        {
            **dict(zip(names, columns, strict=False)),
            "seen": [SEEN.index(each) for each in columns[0]],
            "held": [None if each is None else HELD.index(each) for each in columns[3]],
            "activity": [None if each is None else ACTIVITY.index(each) for each in columns[7]],
            "is_throttled": columns[8],
        }
    )
    decided = [STATES[code] for code in frame.select(state=decide()).get_column("state")]
    assert decided == [state_of(*each) for each in evidence]
    assert set(decided) == set(STATES)


def grade_of(row: dict[str, object]) -> str:
    """Return the grade whose own measurement is there, from the declared one downwards."""
    declared = row["declared"]
    if declared == "A" and (row["graphics_active_ratio"] is not None or row["sm_active_ratio"] is not None):
        return "A"
    if declared == "B" and row["kernel_active_ratio"] is not None:
        return "B"
    if declared in {"A", "B", "C", None} and row["kernel_active_ratio"] is not None:
        return "C"
    known = (
        row["power_watts"] is not None and row["idle_power_watts"] is not None and row["power_limit_watts"] is not None
    )
    return "D" if declared != "X" and known else "X"


def active_of(grade: str, row: dict[str, float | None]) -> str | None:
    """Return what the activity says by the defaults of the ledger."""
    power, idle_power, limit = row["power_watts"], row["idle_power_watts"], row["power_limit_watts"]
    proxy = None
    if power is not None and idle_power is not None and limit is not None:
        proxy = (power - idle_power) / (limit - idle_power)
    used = row["sm_active_ratio"] if grade == "A" else proxy
    engine_works = any((row.get(name) or 0.0) >= 0.01 for name in ENGINES)
    if engine_works:
        idle = False
    elif grade == "X":
        return None
    elif grade == "A":
        first = row["graphics_active_ratio"]
        ratio = row["sm_active_ratio"] if first is None else first
        assert ratio is not None
        idle = ratio < 0.05
    elif grade == "B":
        assert row["kernel_active_ratio"] is not None
        idle = row["kernel_active_ratio"] < 0.05
    elif grade == "C":
        assert row["kernel_active_ratio"] is not None
        if row["kernel_active_ratio"] >= 0.01:
            idle = False
        elif power is None or idle_power is None:
            return None
        else:
            idle = power < idle_power * 1.1
    else:
        assert proxy is not None
        idle = proxy < 0.05
    if idle:
        return "idle"
    return used_of(used, engine_works)


def used_of(used: float | None, engine_works: bool) -> str:
    """Return what the activity of a device says that is not idle."""
    return "underused" if (engine_works and used is None) or (used is not None and used < 0.25) else "busy"


def test_activity_follows_the_grade_of_its_evidence_on_both_sides_of_each_threshold() -> None:
    ratios = (None, 0.0, 0.009, 0.01, 0.049, 0.05, 0.249, 0.25, 1.0)
    powers = (None, 60.0, 65.9, 66.1, 80.0, 91.9, 92.1, 219.0, 221.0, 700.0)
    rows = [
        {
            "declared": declared,
            "kernel_active_ratio": kernel,
            "graphics_active_ratio": graphics,
            "sm_active_ratio": sm,
            "power_watts": power,
            "idle_power_watts": idle_power,
            "power_limit_watts": 700.0,
        }
        for declared in ("A", "B", "C", "D", "X", None)
        for kernel, graphics, sm in product(ratios, ratios[::2], ratios[::3])
        for power in powers
        for idle_power in (None, 60.0)
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    expected_grades = [grade_of(row) for row in rows]
    expected = [active_of(grade, row) for grade, row in zip(expected_grades, rows, strict=True)]
    assert set(expected) == set(ACTIVITY)
    # Nobody measured the video engines, they rest, or one of them works: it is idle no more, and the rest decides.
    for engines in ({}, dict.fromkeys(ENGINES, 0.0), {"decoder_active_ratio": 0.009}):
        assert judged(frame, **engines) == (expected_grades, expected)
    for name in ENGINES:
        working = [active_of(grade, row | {name: 0.01}) for grade, row in zip(expected_grades, rows, strict=True)]
        assert judged(frame, **{name: 0.01}) == (expected_grades, working)
        assert set(working) == {"underused", "busy"}


def judged(frame: pl.DataFrame, **engines: float) -> tuple[list[str], list[str | None]]:
    """Return grade and activity of each row, with the same said of the engines in all of them."""
    known = (pl.lit(engines.get(name), dtype=pl.Float64).alias(name) for name in ENGINES)
    rows = frame.with_columns(*known, power_proxy().alias("power_proxy")).with_columns(quality().alias("quality"))
    codes = rows.select(activity(Thresholds())).to_series()
    grades = ["ABCDX"[code] for code in rows.get_column("quality")]
    return grades, [None if code is None else ACTIVITY[code] for code in codes]


def test_no_threshold_makes_an_engine_that_rests_a_working_one() -> None:
    row = {"declared": "A", "graphics_active_ratio": 0.0, "sm_active_ratio": 0.0, "power_watts": 60.0}
    unknown = dict.fromkeys(("kernel_active_ratio", "idle_power_watts", "power_limit_watts"))
    types = dict.fromkeys(unknown, pl.Float64)
    frame = pl.DataFrame([row | unknown | dict.fromkeys(ENGINES, 0.0)], schema_overrides=types)
    frame = frame.with_columns(power_proxy().alias("power_proxy")).with_columns(quality().alias("quality"))
    assert frame.select(activity(Thresholds(duty_cycle_idle_below_ratio=0.0))).item() == ACTIVITY.index("idle")


def test_the_rule_version_changes_with_each_threshold() -> None:
    defaults = Thresholds()
    versions = {rule_version(defaults)}
    for name, value in defaults.model_dump().items():
        versions.add(rule_version(defaults.model_copy(update={name: value + 1})))
    assert len(versions) == 1 + len(Thresholds.model_fields)
    assert rule_version(Thresholds()) == rule_version(defaults)


def test_a_grace_longer_than_what_is_read_before_an_hour_is_refused() -> None:
    with pytest.raises(ValidationError):
        Thresholds(stray_grace_seconds=541)
