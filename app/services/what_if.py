"""What the same work would cost elsewhere: on other servers, on spot, committed, owned, or in part."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field

from app import display
from app import what_if as asking
from app.context import Context
from app.data import Scope, Window, answered
from app.services._service import Params, Progress, service
from ledger.errors import InputError
from ledger.tables import ExchangeRate
from queries.scenarios import frames
from queries.scenarios.options import Assumptions
from queries.scenarios.scenario import Scenario

Ratio = Annotated[Decimal, Field(ge=0, lt=1, max_digits=9, decimal_places=6)]
Amount = Annotated[Decimal, Field(ge=0, max_digits=30, decimal_places=12)]


class WhatIf(Params):
    """Of which days and whose work, and what to assume."""

    days: Annotated[int, Field(ge=1, le=366, description="Whole UTC days, up to yesterday")] = 30
    cluster: Annotated[str, Field(description="Cluster; empty for all")] = ""
    team: Annotated[str, Field(description="Team; empty for all")] = ""
    work: Annotated[str, Field(description="Kind of work, as listed; empty for the dearest")] = ""
    basis: Annotated[Literal["held", "existing", "productive"], Field(description="What counts as work")] = "held"
    accelerator: Annotated[str, Field(description="Another GPU, such as A100; empty for the present one")] = ""
    speed: Annotated[
        Decimal, Field(gt=0, le=100, max_digits=9, decimal_places=6, description="Its work in an hour of the present")
    ] = Decimal(1)
    rent: Annotated[str, Field(description="Offer that the rest is rented at; empty for the cheapest near")] = ""
    rerun_ratio: Annotated[
        Ratio | None, Field(description="Work that spot does twice; empty for what was measured")
    ] = None
    spot_discount: Annotated[Ratio | None, Field(description="Where no list has spot: below on demand")] = None
    one_year_discount: Annotated[Ratio | None, Field(description="Commitment of a year below on demand")] = None
    three_year_discount: Annotated[Ratio | None, Field(description="Of three years")] = None
    billing_currency: Annotated[str, Field(pattern=r"^([A-Z]{3})?$", description="Currency of what is stated here")] = (
        ""
    )
    gpu_count: Annotated[int | None, Field(ge=1, le=1_024, description="GPUs of an owned server")] = None
    purchase_cost: Annotated[Amount | None, Field(description="Its price")] = None
    residual_cost: Annotated[Amount | None, Field(description="Its value at the end")] = None
    life_years: Annotated[
        Decimal | None, Field(gt=0, le=50, max_digits=6, decimal_places=3, description="Years of use")
    ] = None
    power_watts: Annotated[Amount | None, Field(description="Its mean power")] = None
    pue_ratio: Annotated[Decimal | None, Field(ge=1, le=5, description="Power usage effectiveness")] = None
    energy_price: Annotated[Amount | None, Field(description="Price of a kilowatt-hour")] = None
    month_cost: Annotated[Amount | None, Field(description="Space, staff and support of a month")] = None


@service()
def what_if(context: Context, params: WhatIf, progress: Progress) -> dict[str, object]:
    """Return what the work of some days costs now and in other ways, for an average month, the cheapest first.

    `options` are those of the chosen kind of work, `works` all kinds with the cheapest way of each. Money is per
    currency; what has no price is null, and `reason` or `not_priced` says why.
    Raises: InputError: there is no such work.
    """
    del progress
    now = context.now()
    window = asking.whole_days(Window(now - timedelta(days=params.days), now), now)

    def answer(question: str, **asked: object) -> pl.DataFrame:
        return answered(context, question, scope=Scope(), **asked)

    with context.store.transaction():
        found = asking.measured(answer, window, now.date(), cluster=params.cluster, team=params.team)
        exchange = display.rates(context.store.read(ExchangeRate), context.settings)
    names = [each.name for each in found.works]
    if params.work and params.work not in names:
        raise InputError(f"what-if: found no work {params.work!r}", hint=f"one of {', '.join(names) or 'none'}")
    otherwise = context.settings.money.display_currency or "USD"
    made = asking.priced(
        found, exchange, _assumptions(params), _bought(params), chosen=params.work, otherwise=otherwise
    )
    return {
        "start": window.start,
        "end": window.end,
        "works": frames.works(made).to_dicts(),
        **(_chosen(made[0]) if made else {"work": "", "options": [], "not_priced": []}),
    }


def _assumptions(params: WhatIf) -> Assumptions:
    names = (
        "basis",
        "accelerator",
        "speed",
        "rerun_ratio",
        "spot_discount",
        "one_year_discount",
        "three_year_discount",
    )
    return Assumptions(rent=params.rent, **{name: getattr(params, name) for name in names})


def _bought(params: WhatIf) -> asking.Bought:
    names = ("billing_currency", "gpu_count", "purchase_cost", "residual_cost", "life_years", "pue_ratio")
    same = {name: getattr(params, name) for name in (*names, "energy_price", "month_cost")}
    return asking.Bought(watts=params.power_watts, **same)


def _chosen(found: Scenario) -> dict[str, Any]:
    best = found.best
    return {
        "work": found.work.name,
        "best": best.name if best is not None else "",
        "saving_month_cost": found.saving(best) if best is not None and best.kind != "now" else None,
        "billing_currency": found.work.currency,
        "held_ratio": None if found.work.held_ratio is None else float(found.work.held_ratio),
        "rerun_ratio": found.rerun_ratio,
        "is_rerun_measured": found.is_rerun_measured,
        "rent": found.rent.name if found.rent is not None else "",
        "options": frames.options(found).to_dicts(),
        "not_priced": [{"name": each.name, "reason": each.reason} for each in found.unpriced],
    }
