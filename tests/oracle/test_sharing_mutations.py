"""Each rule of sharing broken on purpose, in what it reads, in how it divides, or in what it returns: all turn red."""

import random
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from tests.oracle.faults import LAST_UNIT, Fault, Tables, changed, not_read, read_as
from tests.oracle.oracle_sharing import Cluster, Rules
from tests.oracle.sharing import clusters
from tests.oracle.sharing_frames import allocated, check, device_time, found_in, tables

RULES = Rules(
    split="95_3_2",
    node_shares=(800_000, 150_000, 50_000),
    shared="even",
    by_kind={
        "tax": "proportional",
        "credit": "fixed",
        "support": "fixed",
        "purchase": "apart",
        "network": "direct",
        "storage": "direct",
    },
    teams={"vision": 250_000, "speech": 333_333},
)
COUNT = 60


@pytest.fixture(scope="module")
def right() -> tuple[list[Cluster], Tables, pl.DataFrame]:
    """Return clusters, their tables with device time, and their allocations, all of it right."""
    drawn = clusters(99, COUNT)
    made = tables(drawn)
    made |= device_time(made)
    rows = allocated(made, RULES)
    check(drawn, RULES, rows)
    return drawn, made, rows


def of_kind(kind: str, rule: str) -> Rules:
    """Return the rules with another for one kind of cost."""
    return replace(RULES, by_kind=dict(RULES.by_kind) | {kind: rule})


OTHER_RULES: Mapping[str, Rules] = {
    "a node to its devices alone": replace(RULES, split="whole_node_to_gpu"),
    "another split": replace(RULES, split="70_30"),
    "the weights of AWS": replace(RULES, split="aws_9_09_01"),
    "a custom split": replace(RULES, split="custom"),
    "tax evenly": of_kind("tax", "even"),
    "tax apart": of_kind("tax", "apart"),
    "credits in proportion": of_kind("credit", "proportional"),
    "support in other shares": replace(RULES, teams={"vision": 333_333, "speech": 250_000}),
    "purchases evenly": of_kind("purchase", "even"),
    "network in proportion": of_kind("network", "proportional"),
    "storage apart": of_kind("storage", "apart"),
    "adjustments apart": of_kind("adjustment", "apart"),
    "the rest in proportion": replace(RULES, shared="proportional"),
}
"""The oracle goes by `RULES`, what it judges by these."""


INPUTS: Mapping[str, Fault] = {
    "a slice is a whole device": read_as("gpu", gpu_fraction=Decimal(1)),
    "slices are even": read_as(
        "gpu", gpu_fraction=pl.when(pl.col("parent_gpu_uuid") == "").then(pl.lit(Decimal(1))).otherwise(0.2)
    ),
    "requests of shares are not read": read_as("job_gpu", requested_share_ratio=None),
    "process time is not read": not_read("gpu_process_sample"),
    "who shares a device holds it whole, each of them": lambda made: made,
    "holdings never end": read_as("job_gpu", held_end=None),
    "holdings begin with the hour": read_as("job_gpu", held_start=pl.col("held_start").dt.truncate("1h")),
    "a replaced node has the size of the first": read_as(
        "node", cpu_count=pl.col("cpu_count").first().over("cluster", "node")
    ),
    "jobs ask for a node's worth on each node": read_as("job", node_count=1),
    "processors are not asked for": read_as("job", cpu_count=None),
    "memory is not asked for": read_as("job", memory_bytes=None),
    "RDMA leaves the cluster": read_as("network_hour", is_rdma=False),
    "bytes to file systems are not counted": read_as("storage_hour", read_bytes=None),
    "owners are not named": read_as("cost_hour", owner_team=""),
    "all charges are of the estate": read_as("cost_hour", in_scope=True),
    "unused commitments are usage": read_as("cost_hour", commitment_status=""),
    "credits are clamped": read_as("cost_hour", billed_cost=pl.max_horizontal("billed_cost", pl.lit(Decimal(0)))),
    "unknown effective cost is none": read_as(
        "cost_hour", effective_cost=pl.col("effective_cost").fill_null(Decimal(0))
    ),
    "kinds are not told apart": read_as("cost_hour", cost_kind="usage"),
}
"""The oracle reads the tables, what it judges reads them changed."""


def _twice(made: Tables) -> Tables:
    """Let each job on a shared device have all of its time."""
    hours = made["job_gpu_hour"]
    columns = [name for name in hours.columns if name.endswith("_seconds") and name != "held_seconds"]
    whole = [(pl.col(name) / pl.col("share_ratio")).round(3).cast(hours.schema[name]).alias(name) for name in columns]
    shared = pl.col("share_ratio") < 1
    return made | {
        "job_gpu_hour": hours.with_columns(
            pl.when(shared & (pl.col("share_ratio") > 0)).then(each).otherwise(pl.col(name)).alias(name)
            for each, name in zip(whole, columns, strict=True)
        )
    }


OUTPUTS: Mapping[str, tuple[pl.Expr, Mapping[str, pl.Expr]]] = {
    "a part dropped": (pl.col("billed_cost") != 0, {}),
    "a last unit too much": (
        pl.col("gpu_uuid") != "",
        {"billed_cost": pl.col("billed_cost") + LAST_UNIT},
    ),
    "idle called held": (pl.col("bucket") == "idle", {"bucket": pl.lit("allocated")}),
    "broken called idle": (pl.col("state") == "faulty", {"bucket": pl.lit("idle")}),
    "another team": (pl.col("job_id") != "", {"team": pl.lit("elsewhere")}),
    "another run": (pl.col("job_id") != "", {"restart_count": pl.col("restart_count") + 1}),
    "another device": (pl.col("gpu_uuid") != "", {"gpu_uuid": pl.lit("other")}),
    "an hour later": (pl.col("billed_cost") != 0, {"hour_start": pl.col("hour_start") + pl.duration(hours=1)}),
    "another rule's name": (pl.col("billed_cost") != 0, {"allocated_method_id": pl.lit("guessed")}),
    "what nobody caused given away": (
        (pl.col("allocated_method_id") == "not_attributable") & (pl.col("billed_cost") != 0),
        {"team": pl.lit("vision")},
    ),
}
"""Which row is changed in one column, or dropped."""


@pytest.mark.parametrize("name", OTHER_RULES)
def test_a_cost_divided_by_another_rule_turns_the_comparison_red(name: str, right: Any) -> None:
    drawn, made, _ = right
    with pytest.raises(AssertionError):
        check(drawn, RULES, allocated(made, OTHER_RULES[name]))


@pytest.mark.parametrize("name", INPUTS)
def test_a_rule_that_misreads_turns_the_comparison_red(name: str, right: Any) -> None:
    drawn, made, _ = right
    given = INPUTS[name](made)
    given |= device_time(given)
    if name.startswith("who shares"):
        given = _twice(given)
    with pytest.raises(AssertionError):
        check(drawn, RULES, allocated(given, RULES))


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("seed", range(3))
def test_one_wrong_row_turns_the_comparison_red(name: str, seed: int, right: Any) -> None:
    drawn, _, rows = right
    where, columns = OUTPUTS[name]
    # A part of nothing may stand anywhere.
    places = rows.select((where & (pl.col("billed_cost") != 0)).arg_true()).to_series().to_list()
    place = random.Random(seed).choice(places)  # noqa: S311  seeded, not secret
    wrong = changed(rows, place, **columns) if columns else rows.filter(pl.int_range(pl.len()) != place)
    with pytest.raises(AssertionError):
        check(drawn, RULES, wrong)


def test_device_time_of_sharers_is_neither_nothing_nor_all_of_it_for_each(right: Any) -> None:
    _, made, rows = right
    key = ["cluster", "node", "gpu_uuid", "hour_start"]
    shared = made["job_gpu_hour"].group_by(key).agg(pl.len().alias("jobs")).filter(pl.col("jobs") > 1)
    devices = made["gpu_hour"].join(shared, on=key, how="semi")
    assert devices.height > 20
    largest = devices.select([*key, "existed_seconds", "gpu_fraction"])
    mine = rows.filter(pl.col("gpu_uuid") != "").group_by(key).agg(pl.col("held_gpu_seconds").sum())
    both = mine.join(largest, on=key).filter(pl.col("held_gpu_seconds") > 0)
    whole = pl.col("existed_seconds").cast(pl.Float64) * pl.col("gpu_fraction").cast(pl.Float64)
    assert both.height
    assert both.select((pl.col("held_gpu_seconds").cast(pl.Float64) - whole).abs().max()).item() < 1e-6
    assert len(found_in(rows)) == rows.height
