"""Every way to share a device, and every rule of division, against a plain reading, on thousands of drawn clusters."""

from collections import Counter
from dataclasses import replace
from functools import cache

import polars as pl
import pytest

from queries.graph import Span
from tests.oracle import sharing
from tests.oracle.generators import START
from tests.oracle.money_frames import moment
from tests.oracle.oracle_money import HOUR
from tests.oracle.oracle_sharing import Cluster, Hold, Job
from tests.oracle.searching import CI
from tests.oracle.sharing import HOURS, KINDS, clusters, rules
from tests.oracle.sharing_frames import allocated, check, device_time, found_in, tables

TOGETHER = 130
CALLS = 40 if CI else 4
"""At least 5,000 clusters in CI."""


@cache
def given(seed: int) -> tuple[list[Cluster], dict[str, pl.DataFrame], Counter[str]]:
    """Return drawn clusters, their tables with device time, and what kinds of things are in them."""
    kinds: Counter[str] = Counter()
    drawn = clusters(seed, TOGETHER, kinds)
    made = tables(drawn)
    return drawn, made | device_time(made), kinds


@pytest.mark.parametrize("seed", range(CALLS))
def test_each_cost_is_borne_as_a_plain_reading_says(seed: int) -> None:
    drawn, made, _ = given(seed)
    check(drawn, rules(seed), allocated(made, rules(seed)))


def test_each_kind_is_drawn() -> None:
    assert KINDS - {kind for kind, count in given(0)[2].items() if count} == set()
    assert {rules(seed).split for seed in range(CALLS)} > {"whole_node_to_gpu"} or CALLS < 5


@pytest.mark.parametrize("seed", range(0, CALLS, 4))
def test_neither_the_order_of_rows_nor_how_hours_are_split_matters(seed: int) -> None:
    _, made, _ = given(seed)
    whole = allocated(made, rules(seed))
    mixed = {name: rows.sample(fraction=1, shuffle=True, seed=seed) for name, rows in made.items()}
    assert allocated(mixed | device_time(mixed), rules(seed)).equals(whole)
    hours = [Span(moment(at), moment(at + HOUR), moment(at)) for at in range(START, START + HOURS * HOUR, HOUR)]
    assert pl.concat([allocated(made, rules(seed), each) for each in hours]).equals(whole)


def with_a_stranger(cluster: Cluster) -> Cluster:
    """Return a cluster with one more job, on whole devices that nobody held."""
    run = ("stranger", START - HOUR, 0)
    free = [each for each in cluster.devices if not each.holds and not each.parent]
    hold = Hold(run, START, None, None)
    devices = [replace(each, holds=(hold,)) if each in free else each for each in cluster.devices]
    job = Job(run, "eve", "elsewhere", "other", None, None, 1)
    return replace(cluster, devices=tuple(devices), jobs=(*cluster.jobs, job))


@pytest.mark.parametrize("seed", range(0, CALLS, 4))
def test_an_unrelated_job_changes_nothing_of_anothers_cost(seed: int) -> None:
    drawn, made, _ = given(seed)
    apart = replace(rules(seed), shared="apart", by_kind={})
    more = [with_a_stranger(each) for each in drawn]
    assert more != drawn
    others = tables(more)
    both = [found_in(allocated(each | device_time(each), apart)) for each in (made, others)]
    mine = [
        {key: part for key, part in found.items() if key[1].gpu and key[1].job not in {"", "stranger"}}
        for found in both
    ]
    assert mine[0] == mine[1] != {}
    assert any(leaf.job == "stranger" for _, leaf in both[1])


@pytest.mark.parametrize("layout", sharing._LAYOUTS)
def test_slices_and_what_is_left_are_the_whole_device(layout: tuple[str, ...]) -> None:
    sizes, rest = sharing.fractions(layout)
    assert sum(sizes) + rest == 10**6
    assert min(sizes) > 0 <= rest
