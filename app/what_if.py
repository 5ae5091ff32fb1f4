"""The same work elsewhere, for the page and the command line: asked once, so that they cannot differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Final

import polars as pl

from app.data import Window
from app.headline import Answer
from ledger.exchange import Exchange
from ledger.tables.partition import floor
from queries import sql
from queries.scenarios import scenario as scenarios
from queries.scenarios.offers import STANDARD, Offer, accelerator, offers, unpriced
from queries.scenarios.options import Assumptions
from queries.scenarios.owned import Server, exchanged, from_asset
from queries.scenarios.scenario import Scenario
from queries.scenarios.work import Work, works

QUESTIONS: Final = (
    "scenario_hours",
    "scenario_costs",
    "scenario_rates",
    "scenario_prices",
    "scenario_assets",
    "scenario_interruptions",
)
LIFE_YEARS: Final = Decimal(5)
"""How long a server is assumed to be used where nobody says it."""

_SERVER_GPUS: Final = 8
"""GPUs of a server where neither a person nor the inventory says it."""

_YEAR_MONTHS: Final = 12
_PLACES: Final = Decimal("0.0001")


@dataclass(frozen=True)
class Bought:
    """What a person states of a server to buy; null is what the inventory says of one with such GPUs.

    `month_cost` is space, staff and support of a month together.
    """

    billing_currency: str = ""
    gpu_count: int | None = None
    purchase_cost: Decimal | None = None
    residual_cost: Decimal | None = None
    life_years: Decimal | None = None
    watts: Decimal | None = None
    pue_ratio: Decimal | None = None
    energy_price: Decimal | None = None
    month_cost: Decimal | None = None


@dataclass(frozen=True)
class Measured:
    """What the ledger knows of one stretch: the work, prices, own servers, and how often runs were interrupted.

    Amounts are exchanged at the rate of the day `on`.
    """

    window: Window
    on: date
    works: tuple[Work, ...]
    prices: pl.DataFrame
    rates: pl.DataFrame
    assets: pl.DataFrame
    interrupted_ratio: Decimal | None

    @property
    def accelerators(self) -> list[str]:
        """The kinds of GPUs that something offers."""
        frames = (self.prices, self.rates)
        return sorted({accelerator(name) for frame in frames for name in frame["gpu_model"].drop_nulls()} - {""})

    @cached_property
    def _standard(self) -> list[Offer]:
        found = offers(self.prices, self.rates, lambda currency, on: Fraction(1))  # noqa: ARG005  names alone matter
        return [each for each in found if each.category in STANDARD]

    def rents(self, kind: str) -> list[str]:
        """The names of what a kind of GPU is offered as by the hour."""
        return sorted({each.name for each in self._standard if each.accelerator == kind})


def tables() -> list[str]:
    """Return what it is made of."""
    return sorted({"exchange_rate", *(name for each in QUESTIONS for name in sql.load(each).tables)})


def whole_days(window: Window, now: datetime) -> Window:
    """Return the whole UTC days that a stretch touches and that are over: bills and samples of today are not whole."""
    end = min(floor(window.end, "day") if window.end < now else floor(now, "day"), floor(now, "day"))
    return Window(min(floor(window.start, "day"), end - timedelta(days=1)), end)


def measured(answer: Answer, window: Window, on: date, *, cluster: str = "", team: str = "") -> Measured:
    """Return what is known of a stretch, from answers to the questions."""
    given = {"start": window.start, "end": window.end, "cluster": cluster, "team": team}
    frames = {each: answer(each, **{name: given[name] for name in sql.load(each).asks}) for each in QUESTIONS}
    found = works(frames["scenario_hours"], frames["scenario_costs"])
    ended = frames["scenario_interruptions"].row(0, named=True)
    held, lost = (Decimal(str(ended[name] or 0)) for name in ("held_seconds", "interrupted_seconds"))
    return Measured(
        window,
        on,
        tuple(found),
        frames["scenario_prices"],
        _named(frames["scenario_rates"], found),
        frames["scenario_assets"],
        (lost / held).quantize(_PLACES) if held else None,
    )


def _named(rates: pl.DataFrame, found: Sequence[Work]) -> pl.DataFrame:
    """Return what bills show with the GPUs that were measured on servers of the type."""
    rows = {(each.provider, each.region, each.instance_type): each for each in found if each.gpu_model}
    own = [rows.get(key) for key in rates.select("provider", "region", "instance_type").iter_rows()]
    return rates.with_columns(
        pl.Series("gpu_model", [each.gpu_model if each else None for each in own], dtype=pl.String),
        pl.Series("gpu_memory_bytes", [each.memory_bytes if each else None for each in own], dtype=pl.Float64),
    )


def priced(
    found: Measured, exchange: Exchange, assumptions: Assumptions, bought: Bought, *, chosen: str = "", otherwise: str
) -> list[Scenario]:
    """Return the ways to do each kind of work, the chosen first; only that is asked about another GPU or offer.

    What has no cost of its own is compared in the currency `otherwise`.
    """
    ordered = sorted(found.works, key=lambda each: each.name != chosen)
    return [
        _scenario(found, each, exchange, assumptions, bought, otherwise)
        if index == 0
        else _scenario(found, each, exchange, _plain(assumptions), Bought(), otherwise)
        for index, each in enumerate(ordered)
    ]


def _plain(assumptions: Assumptions) -> Assumptions:
    return replace(assumptions, accelerator="", speed=Decimal(1), rent="")


def _scenario(
    found: Measured, work: Work, exchange: Exchange, assumptions: Assumptions, bought: Bought, otherwise: str
) -> Scenario:
    mine = work if work.currency else replace(work, currency=otherwise)

    def between(source: str, into: str) -> Fraction | None:
        quote = exchange.quote(source, into, found.on)
        return None if quote is None else quote.ratio

    def worth(currency: str, on: date) -> Fraction | None:
        del on
        return between(currency, mine.currency)

    offered = offers(found.prices, found.rates, worth)
    target = assumptions.accelerator or work.accelerator
    asked = replace(assumptions, server=server(found.assets, mine, target, bought, between))
    made = scenarios.scenario(mine, offered, asked, found.interrupted_ratio, worth, found.on)
    here = [each for each in offered if each.accelerator == target]
    return replace(made, unpriced=(*made.unpriced, *unpriced(found.prices, here)))


def server(
    assets: pl.DataFrame, work: Work, target: str, bought: Bought, between: Callable[[str, str], Fraction | None]
) -> Server | None:
    """Return a server to buy: the newest of the inventory with such GPUs, with what a person states in its place.

    What the inventory says is exchanged into the currency that is stated; without a rate what is stated stands alone.
    """
    watts = work.gpu_watts if target == work.accelerator else None
    mine = (each for each in assets.iter_rows(named=True) if each["gpu_count"])
    known = next((from_asset(each, watts) for each in mine if accelerator(each["gpu_model"]) == target), None)
    if known is not None and bought.billing_currency not in {"", known.billing_currency}:
        ratio = between(known.billing_currency, bought.billing_currency)
        known = None if ratio is None else exchanged(known, bought.billing_currency, ratio)
    if known is None and bought.purchase_cost is None:
        return None
    return _with(known or _unknown(bought, work, work.currency), bought)


def _with(known: Server, bought: Bought) -> Server:
    """Return a server with what a person states in the place of what is known."""
    if bought == Bought():
        return known
    is_monthly = bought.month_cost is not None
    return replace(
        known,
        gpu_count=bought.gpu_count or known.gpu_count,
        purchase_cost=known.purchase_cost if bought.purchase_cost is None else bought.purchase_cost,
        residual_cost=_stated(bought.residual_cost, known.residual_cost),
        life_months=known.life_months if bought.life_years is None else Fraction(bought.life_years) * _YEAR_MONTHS,
        watts=_stated(bought.watts, known.watts),
        power_evidence=known.power_evidence if bought.watts is None else "stated",
        pue_ratio=_stated(bought.pue_ratio, known.pue_ratio),
        energy_price=_stated(bought.energy_price, known.energy_price),
        space_month_cost=Decimal(0) if is_monthly else known.space_month_cost,
        staff_month_cost=Decimal(0) if is_monthly else known.staff_month_cost,
        support_month_cost=_stated(bought.month_cost, known.support_month_cost),
        source=f"{known.source}, changed here" if known.name else known.source,
    )


def _stated(said: Decimal | None, known: Decimal | None) -> Decimal | None:
    return known if said is None else said


def _unknown(bought: Bought, work: Work, currency: str) -> Server:
    """Return a server of which only the price is stated, with as many GPUs as there are in one now."""
    return Server(
        name="",
        billing_currency=bought.billing_currency or currency,
        gpu_count=bought.gpu_count or work.gpu_count or _SERVER_GPUS,
        purchase_cost=bought.purchase_cost or Decimal(0),
        residual_cost=None,
        financing_cost=None,
        life_months=Fraction(bought.life_years or LIFE_YEARS) * _YEAR_MONTHS,
        watts=None,
        pue_ratio=None,
        energy_price=None,
        space_month_cost=None,
        staff_month_cost=None,
        support_month_cost=None,
        source="stated here",
    )
