"""What each model costs: allocated against productive, and for a million tokens."""

from datetime import timedelta
from decimal import Decimal

import polars as pl
import streamlit as st

from app import cards, controls, data, sums, table
from app import format as written
from app.charts import money as money_charts
from app.page import page
from app.table import Column
from app.theme import STATE_COLOURS
from ledger.names import UNATTRIBUTED


@page("Models", section="Money", order=1, icon=":material/neurology:")
def models() -> None:
    """Show cost per model, how much of it was productive, and what names no model."""
    window = controls.days(controls.window())
    costs = data.answer("model_costs", scope=controls.scope(), start=window.start, end=window.end, team=controls.team())
    if costs.is_empty():
        st.info("No job with a price ran in this window. Name models in `clusterledger.toml`, section `[[models]]`.")
        return
    currencies = list(sums.by_currency(costs, "effective_cost"))
    currency = _currency(currencies)
    if not currency:
        st.info("No price of what these jobs held is known. Import a bill or a price list with `clusterledger ingest`.")
        return
    mine = data.once(_priced, costs, currency)
    _headline(mine, currency)
    last = window.end - timedelta(days=1)
    st.caption(f"Whole days, UTC: {window.start:%-d %B} to {last:%-d %B}.")
    _bars(mine, currency)
    days = data.answer("model_days", scope=controls.scope(), start=window.start, end=window.end, team=controls.team())
    st.subheader("Day by day", anchor=False)
    st.plotly_chart(
        data.once(money_charts.stacked, data.once(sums.in_currency, days, currency), currency),
        key="days",
        config={"displayModeBar": False},
        alt="Cost of models by day",
    )
    table.show(
        mine,
        {
            "model": Column("Model"),
            "effective_cost": Column(f"Cost ({currency})", "money"),
            "productive_cost": Column("Productive", "money"),
            "idle_cost": Column("Idle", "money"),
            "productive_ratio": Column("Productive share", "percent"),
            "gpu_hours": Column("GPU-hours", "hours"),
            "prompt_token_count": Column("Prompt tokens", "count"),
            "generated_token_count": Column("Generated tokens", "count"),
            "per_million_tokens": Column(
                f"{currency} per million tokens",
                help="Over all its jobs and all its tokens; empty where no server reports tokens.",
            ),
            "has_estimate": Column("Estimated", "flag", "A part of it has no bill yet."),
        },
        key="models",
        file_name="models",
    )


def _headline(mine: pl.DataFrame, currency: str) -> None:
    whole = sums.by_currency(mine, "effective_cost").get(currency, Decimal(0))
    productive = sums.by_currency(mine, "productive_cost").get(currency)
    unnamed = sums.by_currency(mine.filter(pl.col("model") == UNATTRIBUTED), "effective_cost").get(currency, Decimal(0))
    with cards.row():
        cards.card("Models", written.count(mine.filter(pl.col("model") != UNATTRIBUTED).height))
        cards.card(
            "Allocated to models",
            written.money(whole - unnamed, currency, compact=True),
            meaning="Effective cost of what their jobs held, idle time included.",
        )
        cards.card(
            "Productive",
            written.percent(sums.share(productive, whole)),
            meaning="Cost of productive time against the cost of all held time.",
        )
        cards.card(
            "Unattributed",
            written.money(unnamed, currency, compact=True),
            meaning="Held by jobs that no naming rule gives a model.",
        )


def _currency(currencies: list[str]) -> str:
    """Return the currency that is shown, '' where no price is known."""
    if len(currencies) <= 1:
        return currencies[0] if currencies else ""
    chosen = st.segmented_control("Currency", currencies, default=currencies[0], key="currency", bind="query-params")
    return str(chosen or currencies[0])


def _priced(costs: pl.DataFrame, currency: str) -> pl.DataFrame:
    return sums.in_currency(costs, currency).with_columns(
        pl.struct("effective_cost", "prompt_token_count", "generated_token_count")
        .map_elements(_per_million, return_dtype=pl.String)
        .alias("per_million_tokens"),
        productive_ratio=pl.col("productive_cost").cast(pl.Float64) / pl.col("effective_cost").cast(pl.Float64),
    )


def _per_million(row: dict[str, Decimal | int | None]) -> str | None:
    tokens = (row["prompt_token_count"] or 0) + (row["generated_token_count"] or 0)
    cost = row["effective_cost"]
    return None if not tokens or not isinstance(cost, Decimal) else f"{cost * 1_000_000 / tokens:.4f}"


def _bars(mine: pl.DataFrame, currency: str) -> None:
    top = mine.filter(pl.col("effective_cost") > 0).head(12)
    productive = top["productive_cost"].cast(pl.Float64).fill_null(0)
    idle = top["idle_cost"].cast(pl.Float64).fill_null(0)
    rest = top["effective_cost"].cast(pl.Float64) - productive - idle
    st.plotly_chart(
        money_charts.bars(
            top["model"].to_list(),
            [
                ("productive", STATE_COLOURS["productive"], productive.to_list()),
                ("underused, throttled, unknown", STATE_COLOURS["underused"], rest.to_list()),
                ("idle", STATE_COLOURS["held_idle"], idle.to_list()),
            ],
            currency,
        ),
        key="bars",
        config={"displayModeBar": False},
        alt="Cost of each model, productive and idle",
    )
