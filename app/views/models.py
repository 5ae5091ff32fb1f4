"""What each model costs: allocated against productive, and for a million tokens."""

from datetime import timedelta

import polars as pl
import streamlit as st

from app import cards, chart, controls, data, links, sums, table
from app import format as written
from app.budgets import escaped
from app.charts import money as money_charts
from app.page import page
from app.table import Column
from queries import measure
from queries.measures import per_unit, spending
from queries.unit_costs import between_runs, owners, unheld_none

_UNITS = (
    per_unit.PROMPT_TOKENS_COST,
    per_unit.GENERATED_TOKENS_COST,
    per_unit.MILLION_TOKENS_COST,
    per_unit.SAMPLES_COST,
)
_SERVED = (per_unit.SERVING_COST, per_unit.PROMPT_COST, per_unit.GENERATED_COST, per_unit.TRAINING_COST)
_PER_MILLION = per_unit.MANAGED_TOKENS_COST
_OWNERS = ("model", "team", "project", "user", "run")
_MOST_RUNS = 500
_BUCKETS = {
    "idle": "GPUs and commitments that nobody held",
    "shared": "tax, credits and what serves everybody",
    "unallocable": "what has no owner",
    "allocated": "jobs",
}
_RUNS = (
    "A run that was requeued is one run. Samples and tokens cost what the runs whose training told them cost on the "
    "days on which it did: no other run is in their price."
)
_TOLD = "As the trainings told it, by all of their processes; empty where none did."
_BETWEEN = (
    "Between runs: time of a node that nobody held, as a row of those who held the node on that day, in proportion to "
    "how long. It is in no run's price and changes no total."
)


@page("Models", section="Money", order=1, icon=":material/neurology:")
def models() -> None:
    """Show cost per model, how much of it was productive, and what names no model."""
    window = controls.days(controls.window())
    costs = controls.answer("model_costs", window)
    if costs.is_empty():
        st.info("No job with a price ran in this window. Name models in `clusterledger.toml`, section `[[models]]`.")
        _managed(window)
        return
    currencies = list(data.once(measure.amounts, costs, spending.MODELS_COST))
    currency = _currency(currencies)
    if not currency:
        st.info("No price of what these jobs held is known. Import a bill or a price list with `clusterledger ingest`.")
        return
    mine = data.once(_priced, costs, currency)
    rest = data.once(sums.in_currency, controls.answer("modelless_costs", window), currency)
    _headline(mine, rest, currency)
    _whole(mine, rest, currency, window)
    chart.show(
        money_charts.by_model,
        mine,
        currency,
        most=12,
        rest="underused, throttled or not known",
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
            "provider": Column("Provider", help="Of models that a managed service bills; empty for your own."),
            "effective_cost": Column(f"Cost ({currency})", "money"),
            "productive_cost": Column("Productive", "money"),
            "idle_cost": Column("Idle", "money"),
            spending.MODELS_PRODUCTIVE.name: Column("Productive share", "percent", spending.MODELS_PRODUCTIVE.means),
            "gpu_hours": Column("GPU-hours", "hours"),
            **table.prices(_UNITS, currency),
            "prompt_token_count": Column("Prompt tokens", "count"),
            "generated_token_count": Column("Generated tokens", "count"),
            "trained_token_count": Column("Trained tokens", "count"),
            **{each.column: Column(each.title, "money", each.means) for each in _SERVED},
            "trained_sample_count": Column("Trained samples", "count"),
            "has_estimate": Column("Estimated", "flag", "A part of it has no bill yet."),
        },
        key="models",
        file_name="models",
    )
    _by_owner(window, currency)
    _managed(window)


def _managed(window: data.Window) -> None:
    """Show what is paid for models that others run, where the bill names them: each in the currency of its bill."""
    rows = controls.answer("managed_models", window)
    if rows.is_empty():
        return
    st.subheader("Models of managed services", anchor=False)
    table.show(
        data.once(sums.with_prices, rows, (_PER_MILLION,)),
        {
            "model": Column("Model"),
            "token_direction": Column("Direction"),
            "team": Column("Team", help="Whom `money.owners` names for the charge, such as by a tag."),
            "provider": Column("Provider"),
            "service_name": Column("Service"),
            "effective_cost": Column("Effective cost", "money"),
            "billed_cost": Column("Billed cost", "money"),
            "billing_currency": Column("Currency"),
            "quantity": Column("Quantity", "count", "As the bill counts, in its own unit."),
            "unit": Column("Unit"),
            "token_count": Column("Tokens", "count", "The quantity in tokens, where the bill counts tokens."),
            _PER_MILLION.name: Column(_PER_MILLION.title, "price", _PER_MILLION.means),
        },
        key="managed",
        file_name="managed-models",
    )
    st.caption("As the bills name them; a team's are those that `money.owners` gives it. They are in the table above.")


def _headline(mine: pl.DataFrame, rest: pl.DataFrame, currency: str) -> None:
    with cards.row():
        cards.taken(spending.MODEL_COUNT, mine)
        cards.summed(spending.NAMED_COST, mine, of_rows_in=currency)
        cards.parted(spending.MODELS_PRODUCTIVE, mine)
        cards.summed(spending.UNNAMED_COST, mine, of_rows_in=currency)
        cards.summed(spending.MODELLESS_COST, rest, of_rows_in=currency)


def _whole(mine: pl.DataFrame, rest: pl.DataFrame, currency: str, window: data.Window) -> None:
    """Say which days these are, and that models and what is no model's make up all that the estate cost on them."""
    last = window.end - timedelta(days=1)
    held, apart = (
        data.once(measure.amounts, rows, of)
        for rows, of in ((mine, spending.MODELS_COST), (rest, spending.MODELLESS_COST))
    )
    parts = [
        f"{_BUCKETS[name]} {written.money(cost, currency)}"
        for name, cost in rest.select("bucket", "effective_cost").iter_rows()
    ]
    shown = {name: sums.shown(totals, compact=False) for name, totals in (("held", held), ("apart", apart))}
    total = sums.shown(sums.together(held, apart), compact=False)
    said = f"{shown['held']} for models and jobs"
    if parts:
        said += f", and {shown['apart']} of no model ({', '.join(parts)}), are together {total}: all AI spend"
    st.caption(escaped(f"Whole days, UTC, {window.start:%-d %B} to {last:%-d %B}: {said}."))
    links.to("cost", "The same by day, with what is no model's", by="model", window=controls.token(window))


def _currency(currencies: list[str]) -> str:
    """Return the currency that is shown, '' where no price is known."""
    if len(currencies) <= 1:
        return currencies[0] if currencies else ""
    chosen = st.segmented_control("Currency", currencies, default=currencies[0], key="currency", bind="query-params")
    return str(chosen or currencies[0])


def _priced(costs: pl.DataFrame, currency: str) -> pl.DataFrame:
    mine = measure.with_each(sums.in_currency(costs, currency), ["model"], spending.MODELS_PRODUCTIVE)
    return sums.with_prices(mine, _UNITS)


def _by_owner(window: data.Window, currency: str) -> None:
    """Show what runs cost by their owner, and what idled between them as a row of its own."""
    st.subheader("Cost per unit", anchor=False)
    # What is chosen stands in the URL as it is shown.
    by = str(st.segmented_control("Of each", _OWNERS, default="team", key="unit", bind="query-params") or "team")
    rows = data.once(_priced_owners, _owners(window, by), currency)
    if rows.is_empty():
        st.caption("Nothing was held in this window, in this currency.")
        return
    columns = {
        "name": Column(by.capitalize(), width=table.RUN_WIDTH if by == "run" else None),
        "kind": Column("Of it", help=_BETWEEN),
        "effective_cost": Column(f"Cost ({currency})", "money", per_unit.OWNER_COST.means),
        **table.prices(per_unit.OWNER_UNITS, currency),
        "productive_cost": Column("Productive", "money", per_unit.OWNER_PRODUCTIVE.means),
        "idle_cost": Column("Idle", "money"),
        "gpu_hours": Column("GPU-hours", "hours"),
        "run_count": Column("Runs", "count", "A run that was requeued is one run."),
        "trained_sample_count": Column("Trained samples", "count", _TOLD),
        "trained_token_count": Column("Trained tokens", "count", _TOLD),
        "has_estimate": Column("Estimated", "flag", "A part of it has no bill yet."),
    }
    # A row that is one run says nothing by these.
    plain = {"kind", "run_count", per_unit.RUN_COST.name} if by == "run" else set()
    table.show(
        rows,
        {name: column for name, column in columns.items() if name not in plain},
        key="units",
        file_name=f"cost-per-{by}",
    )
    st.caption(_RUNS if by == "run" else f"{_BETWEEN} {_RUNS}")


def _owners(window: data.Window, by: str) -> pl.DataFrame:
    scope, team, cluster = controls.scope(), controls.team(), controls.cluster()

    def make() -> pl.DataFrame:
        asked = {"start": window.start, "end": window.end}
        everybody = data.Scope()
        runs = data.answer("unit_costs", scope=scope, **asked, cluster=cluster, team=team, by=by)
        if by == "run":
            return owners(runs.head(_MOST_RUNS), unheld_none())
        # Whose part of a node's idle time is how large follows from what others held: the parts of others are left out.
        idle = between_runs(
            data.answer("unheld_days", scope=everybody, **asked, cluster=cluster),
            data.answer("held_days", scope=everybody, **asked, by=by),
        )
        return owners(runs, idle.filter(pl.col("team") == team) if team else idle)

    given = {"window": window, "by": by, "cluster": cluster, "team": team}
    return data.made("owners", ["spend_day", "training_day", "job"], make, scope=scope, **given)


def _priced_owners(rows: pl.DataFrame, currency: str) -> pl.DataFrame:
    return sums.with_prices(sums.in_currency(rows, currency), per_unit.OWNER_UNITS)
