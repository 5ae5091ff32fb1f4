"""What drawn hardware costs to have against a plain reading; and faults in its inventory and in what it drew."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Literal

import polars as pl
import pytest

from collectors.billing._ownership import own_charges
from ledger import money as exact
from ledger.tables import Asset, BillImport, FocusCharge
from tests.frames import frame, validated
from tests.oracle.faults import LAST_UNIT, Fault, Tables, as_it_is, changed, not_read, read_as
from tests.oracle.money_frames import money, units
from tests.oracle.oracle_owned import DAY, HOUR, Cost, Key, Measured, Owned, Price, charges
from tests.oracle.searching import CI

SEEDS = range(12 if CI else 2)
EPOCH = date(1970, 1, 1)
# Around the beginning of summer time, and the end of a month.
START = int(datetime(2026, 3, 28, 23, 30, tzinfo=UTC).timestamp())
END = START + 3 * DAY + 4 * HOUR
STEPS: Mapping[str, Literal["hour", "day"]] = {"by the hour": "hour", "by the day": "day"}

NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TARIFFS = (
    (Price(frozenset(range(5)), 7 * 60, 21 * 60, 31 * 10**16), Price(frozenset(range(7)), 0, 1440, 19 * 10**16)),
    (Price(frozenset({5, 6}), 22 * 60 + 20, 5 * 60 + 40, 11 * 10**16),),
)
TEXTS = ("mon-fri 07:00-21:00 0.31; 0.19", "sat-sun 22:20-05:40 0.11")


@cache
def inventory(seed: int) -> tuple[tuple[Owned, ...], tuple[Measured, ...]]:
    """Draw assets, two of them of one node, and what their nodes drew: all of the time, in part, or never."""
    draw = random.Random(seed)  # noqa: S311  seeded, not secret
    assets = []
    for number in range(8):
        tariff = TARIFFS[number % 2] if number % 4 < 2 else ()
        first = START // DAY + draw.choice((-900, -100, -1, 0, 1, 2))
        purchase = draw.randint(10**20, 10**24)
        assets.append(
            Owned(
                name=f"INV-{number}",
                node=f"n{min(number, 6)}",
                currency="USD" if number % 3 == 0 else "EUR",
                start=first * DAY,
                end=(START // DAY + draw.choice((3, 4, 5, 400))) * DAY,
                purchase=purchase,
                residual=draw.choice((0, purchase // 7)),
                financing=draw.choice((None, draw.randint(0, 10**22))),
                space=draw.choice((None, draw.randint(0, 10**21))),
                staff=draw.choice((None, draw.randint(0, 10**21))),
                support=draw.choice((None, draw.randint(0, 10**21))),
                watts=None if number == 5 else str(draw.choice((0.5, 800.0, 10_200.25))),
                overhead=draw.choice(("1", "1.3", "1.07")),
                # The second tariff says nothing about other times.
                energy=None if number == 3 else draw.randint(10**17, 10**18),
                tariff=tariff,
                zone=("Europe/Berlin" if number < 2 else "Asia/Kolkata") if tariff else "UTC",
            )
        )
    # The first of each kind state everything, whatever is drawn of the others.
    assets[:3] = [_whole(each) for each in assets[:3]]
    measured = [
        Measured(f"n{node}", at + offset, str(draw.randint(1, 9 * 10**9) / 1000), draw.choice((600, 1800)))
        for node in (0, 1, 2, 5, 6)
        for at in range(START // HOUR * HOUR, END, HOUR)
        for offset in (0, 1800)
        if draw.random() < 0.8
    ]
    return tuple(assets), tuple(measured)


def _whole(asset: Owned) -> Owned:
    """Return an asset of which all is stated, and that ends with the month."""
    known = dict.fromkeys(("financing", "space", "staff", "support"), 10**20 // 7)
    life = {"start": (START // DAY - 100) * DAY, "end": (START // DAY + 4) * DAY}
    return replace(asset, **known, **life, residual=asset.purchase // 9, overhead="1.3", watts="800.5")


@cache
def tables(seed: int) -> Tables:
    assets, measured = inventory(seed)
    drew = [
        {"cluster": "c", "node": each.node, "at": _moment(each.at), "joules": float(each.joules)}
        | {"measured_seconds": Decimal(each.seconds)}
        for each in measured
    ]
    return {"assets": validated(Asset, frame(Asset, [_row(each) for each in assets])), "energy": pl.DataFrame(drew)}


def _row(each: Owned) -> dict[str, Any]:
    return {
        "asset_id": each.name, "cluster": "c", "node": each.node, "owner": "Lab", "billing_currency": each.currency,
        "purchase_cost": money(each.purchase), "residual_cost": money(each.residual) if each.residual else None,
        "life_start": EPOCH + timedelta(days=each.start // DAY), "life_end": EPOCH + timedelta(days=each.end // DAY),
        "gpu_count": 8, "power_watts": None if each.watts is None else float(each.watts),
        "pue_ratio": None if each.overhead == "1" else float(each.overhead), "energy_price": money(each.energy),
        "space_month_cost": money(each.space), "staff_month_cost": money(each.staff),
        "support_month_cost": money(each.support), "financing_cost": money(each.financing),
        "energy_tariff": TEXTS[TARIFFS.index(each.tariff)] if each.tariff else None,
        "time_zone": None if each.zone == "UTC" else each.zone,
    }  # fmt: skip


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


@cache
def expected(seed: int, step: str) -> dict[Key, Cost]:
    assets, measured = inventory(seed)
    return charges(assets, measured, START, END, {"hour": HOUR, "day": DAY}[STEPS[step]])


def computed(seed: int, step: str, fault: Fault = as_it_is) -> pl.DataFrame:
    made = fault(tables(seed))
    months = own_charges(
        made["assets"], _moment(START), _moment(END), step=STEPS[step], energy=made["energy"], imported_at=_moment(END)
    )
    for each in months:
        rows = each.tables[FocusCharge]
        known = exact.summed(rows, by=["BillingCurrency"], columns=["BilledCost", "EffectiveCost"])
        told = validated(BillImport, each.imports).select("billing_currency", "billed_cost", "effective_cost")
        assert sorted(told.rows()) == sorted(known.rows()), "an import is the sum of its charges"
    return pl.concat([each.tables[FocusCharge] for each in months])


def check(wanted: Mapping[Key, Cost], found: pl.DataFrame) -> None:
    rows: dict[Key, Cost] = {}
    for row in found.iter_rows(named=True):
        start, end = (int(row[f"ChargePeriod{edge}"].timestamp()) for edge in ("Start", "End"))
        name = row["ServiceName"].removeprefix("Owned hardware: ")
        key = Key(row["ResourceId"], name, start, end - start)
        assert key not in rows, "each step of each kind is charged once"
        assert row["BilledCost"] == row["EffectiveCost"]
        assert row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["ChargePeriodEnd"] <= row["BillingPeriodEnd"]
        evidence = row["ChargeDescription"].rpartition("(")[2].rstrip(")")
        rows[key] = Cost(
            units(row["BilledCost"]) or 0, units(row["PricingQuantity"]) or 0, row["BillingCurrency"], evidence
        )
    for key in rows.keys() | wanted.keys():
        assert rows.get(key) == wanted.get(key), (key, "charges", rows.get(key), "oracle", wanted.get(key))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", STEPS)
def test_hardware_costs_what_a_plain_reading_says(step: str, seed: int) -> None:
    wanted = expected(seed, step)
    check(wanted, computed(seed, step))
    assert {each.kind for each in wanted} == {"depreciation", "financing", "energy", "space", "staff", "support"}
    words = {each.evidence.split(" for ")[0] for each in wanted.values()}
    assert words >= {"measured", "rated power", "measured and rated"}


A_MILLIONTH = pl.lit(Decimal("1e-6"), dtype=pl.Decimal(38, 18))
_START, _END = pl.col("life_start"), pl.col("life_end")

FAULTS: Mapping[str, Fault] = {
    "nothing is left at the end": read_as("assets", residual_cost=None),
    "what is left is lost twice": read_as("assets", residual_cost=pl.col("residual_cost") + pl.col("residual_cost")),
    "the price is a millionth more": read_as("assets", purchase_cost=pl.col("purchase_cost") + A_MILLIONTH),
    "cents are enough": read_as("assets", purchase_cost=pl.col("purchase_cost").round(2)),
    "a life begins a day later": read_as("assets", life_start=_START.dt.offset_by("1d")),
    "a life ends a day later": read_as("assets", life_end=_END.dt.offset_by("1d")),
    "a life ends a day earlier": read_as("assets", life_end=_END.dt.offset_by("-1d")),
    "all lives began together": read_as("assets", life_start=_START.min()),
    "financing is free": read_as("assets", financing_cost=None),
    "financing is what space costs": read_as("assets", financing_cost=pl.col("space_month_cost")),
    "space is free": read_as("assets", space_month_cost=None),
    "nobody runs it": read_as("assets", staff_month_cost=None),
    "nobody supports it": read_as("assets", support_month_cost=None),
    "staff and support are one": read_as("assets", support_month_cost=pl.col("staff_month_cost")),
    "space costs a millionth more": read_as("assets", space_month_cost=pl.col("space_month_cost") + A_MILLIONTH),
    "currencies are one": read_as("assets", billing_currency="EUR"),
    "rated power is not read": read_as("assets", power_watts=None),
    "rated power is whole": read_as("assets", power_watts=pl.col("power_watts").round(0)),
    "the site has no overhead": read_as("assets", pue_ratio=None),
    "energy has no price": read_as("assets", energy_price=None, energy_tariff=None),
    "energy is free": read_as("assets", energy_price=Decimal(0)),
    "tariffs are not read": read_as("assets", energy_tariff=None, time_zone=None),
    "clocks are those of Greenwich": read_as("assets", time_zone=None),
    "clocks have no summer": read_as(
        "assets", time_zone=pl.col("time_zone").replace({"Europe/Berlin": "Africa/Lagos"})
    ),
    "a night belongs to the day on which it ends": read_as(
        "assets", energy_tariff=pl.col("energy_tariff").str.replace("sat-sun", "sun-mon")
    ),
    "a tariff changes with the hour": read_as(
        "assets", energy_tariff=pl.col("energy_tariff").str.replace("22:20-05:40", "22:00-06:00")
    ),
    "each asset has a node of its own": read_as("assets", node=pl.col("asset_id").str.replace("INV-", "n")),
    "an asset is lost": lambda made: made | {"assets": made["assets"].slice(1)},
    "nothing is measured": not_read("energy"),
    "what was measured is twice as much": read_as("energy", joules=pl.col("joules") * 2),
    "it was measured all the time": read_as("energy", measured_seconds=Decimal(1800)),
    "it was never measured for long": read_as("energy", measured_seconds=Decimal(1)),
    "what was measured is of the hour before": read_as("energy", at=pl.col("at").dt.offset_by("-1h")),
    "one node drew all": read_as("energy", node="n0"),
}


@pytest.mark.parametrize(("step", "seed"), [("by the hour", 0), *(("by the day", seed) for seed in SEEDS)])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_what_is_stated_or_measured_turns_the_comparison_red(name: str, step: str, seed: int) -> None:
    with pytest.raises(AssertionError):
        check(expected(seed, step), computed(seed, step, FAULTS[name]))


CHARGES: Mapping[str, Callable[[pl.DataFrame, int], pl.DataFrame]] = {
    "a last unit too much": lambda rows, at: changed(rows, at, BilledCost=pl.col("BilledCost") + LAST_UNIT),
    "effective as another": lambda rows, at: changed(rows, at, EffectiveCost=pl.col("EffectiveCost") + LAST_UNIT),
    "a little more used": lambda rows, at: changed(rows, at, PricingQuantity=pl.col("PricingQuantity") + LAST_UNIT),
    "in another currency": lambda rows, at: changed(rows, at, BillingCurrency=pl.lit("JPY")),
    "of another asset": lambda rows, at: changed(rows, at, ResourceId=pl.lit("INV-99")),
    "for something else": lambda rows, at: changed(rows, at, ServiceName=pl.lit("Owned hardware: rent")),
    "by other evidence": lambda rows, at: changed(rows, at, ChargeDescription=pl.lit("by guess")),
    "an hour later": lambda rows, at: changed(
        rows,
        at,
        ChargePeriodStart=pl.col("ChargePeriodStart").dt.offset_by("1h"),
        ChargePeriodEnd=pl.col("ChargePeriodEnd").dt.offset_by("1h"),
    ),
    "of another month": lambda rows, at: changed(rows, at, BillingPeriodStart=pl.col("BillingPeriodEnd")),
    "twice": lambda rows, at: pl.concat([rows, rows.slice(at, 1)]),
    "lost": lambda rows, at: rows.filter(pl.int_range(pl.len()) != at),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", CHARGES)
def test_one_wrong_charge_turns_the_comparison_red(name: str, step: str) -> None:
    right = computed(0, step)
    for place in (0, right.height // 2, right.height - 1):
        with pytest.raises(AssertionError):
            check(expected(0, step), CHARGES[name](right, place))
