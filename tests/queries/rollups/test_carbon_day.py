"""Energy is neither lost nor made, and what is not known stays unknown."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ledger.tables import Asset, CarbonDay, GpuHour, JobGpuHour, Node, NodeEnergyHour
from queries.graph import Span
from queries.rollups._grid import COUNTRY_OF, GRIDS, overhead_of
from queries.rollups.carbon_day import Carbon, Site, carbon_day
from tests.bills import HOUR, at, device_hour, job_hour, node, rows
from tests.frames import validated

H = at(5, 10)
KILOWATT_HOUR = 3_600_000.0
LAB = {"provider": "Lab", "region": "fra1"}
FRANKFURT = Site(region="fra1", grid_grams_per_kilowatt_hour=400, pue_ratio=1.5)


def days(
    devices: list[dict[str, Any]],
    held: list[dict[str, Any]] = [],  # noqa: B006  never changed
    *,
    nodes: list[dict[str, Any]] | None = None,
    pue: float | None = None,
    sites: tuple[Site, ...] = (),
    length: int = 3,
    meters: list[dict[str, Any]] = [],  # noqa: B006  never changed
) -> pl.DataFrame:
    asset = {
        "asset_id": "1", "cluster": "c", "node": "a1", "billing_currency": "EUR", "purchase_cost": Decimal(1),
        "life_start": date(2026, 1, 1), "life_end": date(2030, 1, 1), "pue_ratio": pue,
    }  # fmt: skip
    made = carbon_day.function(
        gpu_hours=rows(GpuHour, devices).lazy(),
        job_hours=rows(JobGpuHour, held).lazy(),
        nodes=rows(Node, [node("a1", **LAB)] if nodes is None else nodes).lazy(),
        assets=rows(Asset, [asset] if pue else []).lazy(),
        whole_nodes=rows(NodeEnergyHour, meters).lazy(),
        span=Span(at(4), at(4) + timedelta(days=length), at(8)),
        settings=Carbon(sites=sites),
    )
    return validated(CarbonDay, made.collect())


def device(joules: float | None, gpu: str = "g1", hour: Any = H, **given: Any) -> dict[str, Any]:
    return device_hour(hour, gpu, energy_joules=joules, **given)


def held(joules: float | None, job: str = "j", gpu: str = "g1", hour: Any = H, **given: Any) -> dict[str, Any]:
    return job_hour(hour, gpu, job, energy_joules=joules, **({"productive_seconds": 3600} | given))


def meter(joules: float, hour: Any = H, seconds: int = 3600) -> dict[str, Any]:
    return {
        "hour_start": hour, "cluster": "c", "node": "a1", "power_source": "ipmi:dcmi", "energy_joules": joules,
        "measured_seconds": Decimal(seconds),
    }  # fmt: skip


def of_job(made: pl.DataFrame, job: str) -> dict[str, Any]:
    return made.filter(pl.col("job_id") == job).row(0, named=True)


def test_energy_times_overhead_times_grid() -> None:
    made = days([device(2 * KILOWATT_HOUR)], [held(2 * KILOWATT_HOUR)], sites=(FRANKFURT,))
    row = of_job(made, "j")
    assert made.height == 1, "nothing is left that nobody held"
    assert (row["day"], row["region"], row["team"], row["model"]) == (H.date(), "fra1", "team-of-j", "model-of-j")
    assert (row["energy_joules"], row["site_joules"]) == (2 * KILOWATT_HOUR, 3 * KILOWATT_HOUR)
    assert row["carbon_grams"] == pytest.approx(1200)
    assert (row["grid_source"], row["known_gpu_seconds"]) == ("configuration", 3600)


def test_what_nobody_held_is_a_row_without_a_job() -> None:
    made = days(
        [device(KILOWATT_HOUR), device(KILOWATT_HOUR / 2, "g2")],
        [held(KILOWATT_HOUR * 0.75, productive_seconds=1800)],
        sites=(FRANKFURT,),
    )
    rest = of_job(made, "")
    assert (rest["team"], rest["model"], rest["user"]) == ("", "", None)
    assert rest["energy_joules"] == pytest.approx(KILOWATT_HOUR * 0.75)
    assert rest["total_gpu_seconds"] == Decimal(5400)


def test_unknown_energy_is_null_and_the_known_share_is_told() -> None:
    made = days(
        [device(None), device(KILOWATT_HOUR, "g2", coverage_ratio=0.5), device(None, "g3")],
        [held(None), held(KILOWATT_HOUR, gpu="g2", coverage_ratio=0.5), held(None, "k", "g3")],
        sites=(FRANKFURT,),
    )
    row, unknown = of_job(made, "j"), of_job(made, "k")
    assert row["energy_joules"] == KILOWATT_HOUR
    assert (row["known_gpu_seconds"], row["total_gpu_seconds"]) == (1800, Decimal(7200))
    assert [unknown[each] for each in ("energy_joules", "site_joules", "carbon_grams")] == [None] * 3
    assert unknown["known_gpu_seconds"] == 0


def test_without_an_overhead_or_a_grid_carbon_is_unknown_and_energy_is_not() -> None:
    only_grid = Site(region="fra1", country="de")
    for sites, site_energy in (((), None), ((only_grid,), None), ((Site(region="fra1", pue_ratio=1),), KILOWATT_HOUR)):
        row = of_job(days([device(KILOWATT_HOUR)], [held(KILOWATT_HOUR)], sites=sites), "j")
        assert (row["energy_joules"], row["site_joules"]) == (KILOWATT_HOUR, site_energy)
        assert row["carbon_grams"] is None


def test_an_asset_says_its_overhead_and_a_cloud_publishes_its_own() -> None:
    devices, jobs = [device(KILOWATT_HOUR)], [held(KILOWATT_HOUR)]
    owned = of_job(days(devices, jobs, pue=1.25, sites=(Site(region="fra1", country="DE"),)), "j")
    assert owned["carbon_grams"] == pytest.approx(1.25 * GRIDS["DE"].value)
    assert (owned["grid_source"], owned["grid_since"]) == (GRIDS["DE"].source, date(2023, 1, 1))
    rented = of_job(days(devices, jobs, nodes=[node("a1")]), "j")
    published = overhead_of("AWS")
    assert published is not None
    assert rented["carbon_grams"] == pytest.approx(published.value * GRIDS["US"].value)
    assert rented["grid_since"] == date(2023, 1, 1)


def test_figures_hold_from_their_day_on_and_the_latest_wins() -> None:
    sites = (
        Site(region="fra1", since=at(5).date(), grid_grams_per_kilowatt_hour=100),
        Site(cluster="c", since=at(6).date(), grid_grams_per_kilowatt_hour=50, source="the contract"),
        Site(cluster="c", pue_ratio=1),
    )
    hours = [at(day, 10) for day in (4, 5, 6)]
    made = days(
        [device(KILOWATT_HOUR, hour=hour) for hour in hours],
        [held(KILOWATT_HOUR, hour=hour) for hour in hours],
        sites=sites,
    )
    assert made.sort("day")["carbon_grams"].to_list() == [None, pytest.approx(100), pytest.approx(50)]
    assert made.sort("day")["grid_source"].to_list() == [None, "configuration", "the contract"]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 30),
            st.sampled_from(("g1", "g2")),
            st.floats(0, 1e7),
            st.lists(st.integers(1, 100), min_size=1, max_size=3),
            st.booleans(),
        ),
        max_size=8,
        unique_by=lambda each: each[:2],
    )
)
def test_joules_are_conserved_and_days_apart_give_the_same(
    hours: list[tuple[int, str, float, list[int], bool]],
) -> None:
    """Whoever holds a device for whatever share: jobs and the rest sum to what it counted, day by day."""
    devices, jobs = [], []
    for offset, gpu, joules, weights, is_held_whole in hours:
        when = at(4) + offset * HOUR
        devices.append(device(joules, gpu, when))
        whole = sum(weights) if is_held_whole else sum(weights) + 50
        for index, weight in enumerate(weights):
            seconds = Decimal(3600 * weight // whole)
            jobs.append(held(joules * weight / whole, f"j{index}", gpu, when, productive_seconds=seconds))
    made = days(devices, jobs, sites=(FRANKFURT,))
    for day in (4, 5):
        mine = [each for each in devices if each["hour_start"].date() == at(day).date()]
        known = made.filter(pl.col("day") == at(day).date())
        assert known["energy_joules"].sum() == pytest.approx(sum(each["energy_joules"] for each in mine), rel=1e-8)
        seconds = sum((each["existed_seconds"] for each in mine), Decimal(0))
        assert sum(known["total_gpu_seconds"].to_list(), Decimal(0)) == seconds
    apart = days(devices[::-1], jobs[::-1], sites=(FRANKFURT,), length=1)
    assert apart.equals(made.filter(pl.col("day") == at(4).date()))


def test_every_region_lies_in_a_country_with_a_figure() -> None:
    assert set(COUNTRY_OF.values()) <= GRIDS.keys()
    assert {figure.since.year for figure in GRIDS.values()} == {2022, 2023}
    assert all(figure.source.startswith(f"{country}, {figure.since.year}: ") for country, figure in GRIDS.items())


@pytest.mark.parametrize("wrong", [{}, {"region": "x", "country": "XX"}, {"region": "x", "pue_ratio": 0.5}])
def test_a_site_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Site.model_validate(wrong)


def test_a_meter_of_the_whole_node_brings_processors_and_fans_in() -> None:
    """A node of two devices draws 6 kWh, its devices 2 and 1: the other 3 go to both by their time."""
    made = days(
        [device(2 * KILOWATT_HOUR), device(KILOWATT_HOUR, "g2")],
        [held(2 * KILOWATT_HOUR)],
        sites=(FRANKFURT,),
        meters=[meter(6 * KILOWATT_HOUR)],
    )
    job, free = of_job(made, "j"), of_job(made, "")
    assert job["energy_joules"] == 2 * KILOWATT_HOUR, "the devices' own energy stays what their counters say"
    assert (job["node_joules"], free["node_joules"]) == (3.5 * KILOWATT_HOUR, 2.5 * KILOWATT_HOUR)
    assert job["site_joules"] == pytest.approx(3.5 * KILOWATT_HOUR * 1.5)
    assert job["carbon_grams"] == pytest.approx(3.5 * 1.5 * 400)
    assert (job["node_known_gpu_seconds"], job["known_gpu_seconds"]) == (3600, 3600)


def test_a_meter_tells_of_devices_that_do_not_count_and_is_not_believed_where_it_misses_a_supply() -> None:
    dumb = days([device(None), device(None, "g2")], [held(None)], sites=(FRANKFURT,), meters=[meter(KILOWATT_HOUR)])
    assert (of_job(dumb, "j")["energy_joules"], of_job(dumb, "j")["node_joules"]) == (None, KILOWATT_HOUR / 2)
    assert of_job(dumb, "j")["carbon_grams"] == pytest.approx(0.5 * 1.5 * 400)
    less = days([device(2 * KILOWATT_HOUR)], [held(2 * KILOWATT_HOUR)], sites=(FRANKFURT,), meters=[meter(1.0)])
    assert (of_job(less, "j")["node_joules"], of_job(less, "j")["node_known_gpu_seconds"]) == (None, 0)
    assert of_job(less, "j")["site_joules"] == 3 * KILOWATT_HOUR


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 3600), st.floats(0.1, 1)), min_size=1, max_size=4),
    st.floats(1e7, 1e8),
    st.integers(1, 3600),
)
def test_parts_of_a_node_sum_to_what_its_meter_saw(
    drawn: list[tuple[float, int, float]], joules: float, seconds: int
) -> None:
    devices = [device(each, f"g{index}", coverage_ratio=cover) for index, (each, _, cover) in enumerate(drawn)]
    jobs = [
        held(each * used / 3600, f"j{index}", f"g{index}", productive_seconds=used, coverage_ratio=cover)
        for index, (each, used, cover) in enumerate(drawn)
        if used
    ]
    made = days(devices, jobs, sites=(FRANKFURT,), meters=[meter(joules, seconds=seconds)])
    told = made["node_joules"].drop_nulls()
    if told.len():
        assert told.len() == made.height
        assert told.sum() == pytest.approx(joules)
