"""What each model costs: allocated against productive, and for a million tokens."""

from datetime import timedelta

import polars as pl
import streamlit as st

from app import cards, chart, controls, data, sums, table
from app.charts import money as money_charts
from app.page import page
from app.table import Column
from queries import measure
from queries.measures import spending


@page("Models", section="Money", order=1, icon=":material/neurology:")
def models() -> None:
    """Show cost per model, how much of it was productive, and what names no model."""
    window = controls.days(controls.window())
    costs = controls.answer("model_costs", window)
    if costs.is_empty():
        st.info("No job with a price ran in this window. Name models in `clusterledger.toml`, section `[[models]]`.")
        return
    currencies = list(data.once(measure.amounts, costs, spending.MODELS_COST))
    currency = _currency(currencies)
    if not currency:
        st.info("No price of what these jobs held is known. Import a bill or a price list with `clusterledger ingest`.")
        return
    mine = data.once(_priced, costs, currency)
    _headline(mine, currency)
    last = window.end - timedelta(days=1)
    st.caption(f"Whole days, UTC: {window.start:%-d %B} to {last:%-d %B}.")
    chart.show(
        money_charts.by_model,
        mine,
        currency,
        most=12,
        rest="underused, throttled, unknown",
        key="bars",
        alt="Cost of each model, productive and idle",
    )
    days = controls.answer("model_days", window)
    st.subheader("Day by day", anchor=False)
    chart.show(
        money_charts.stacked,
        data.once(sums.in_currency, days, currency),
        currency,
        key="days",
        alt="Cost of models by day",
    )
    table.show(
        mine,
        {
            "model": Column("Model"),
            "effective_cost": Column(f"Cost ({currency})", "money"),
            "productive_cost": Column("Productive", "money"),
            "idle_cost": Column("Idle", "money"),
            spending.MODELS_PRODUCTIVE.name: Column("Productive share", "percent", spending.MODELS_PRODUCTIVE.means),
            "gpu_hours": Column("GPU-hours", "hours"),
            "prompt_token_count": Column("Prompt tokens", "count"),
            "generated_token_count": Column("Generated tokens", "count"),
            "trained_token_count": Column("Trained tokens", "count"),
            spending.MILLION_TOKENS_COST.name: Column(
                f"{currency} per million tokens", help=spending.MILLION_TOKENS_COST.means
            ),
            "has_estimate": Column("Estimated", "flag", "A part of it has no bill yet."),
        },
        key="models",
        file_name="models",
    )


def _headline(mine: pl.DataFrame, currency: str) -> None:
    with cards.row():
        cards.taken(spending.MODEL_COUNT, mine)
        cards.summed(spending.NAMED_COST, mine, of_rows_in=currency)
        cards.parted(spending.MODELS_PRODUCTIVE, mine)
        cards.summed(spending.UNNAMED_COST, mine, of_rows_in=currency)


def _currency(currencies: list[str]) -> str:
    """Return the currency that is shown, '' where no price is known."""
    if len(currencies) <= 1:
        return currencies[0] if currencies else ""
    chosen = st.segmented_control("Currency", currencies, default=currencies[0], key="currency", bind="query-params")
    return str(chosen or currencies[0])


def _priced(costs: pl.DataFrame, currency: str) -> pl.DataFrame:
    mine = measure.with_each(sums.in_currency(costs, currency), ["model"], spending.MODELS_PRODUCTIVE)
    prices = [
        measure.unit_costs(model, spending.MILLION_TOKENS_COST).get(currency) for model in mine.iter_slices(n_rows=1)
    ]
    shown = [None if price is None else f"{price:.4f}" for price in prices]
    return mine.with_columns(pl.Series(spending.MILLION_TOKENS_COST.name, shown, pl.String))
