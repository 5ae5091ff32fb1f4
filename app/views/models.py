"""What each model costs: allocated against productive, and for a million tokens."""

from functools import partial

import polars as pl
import streamlit as st

from app import cards, chart, controls, data, display, links, sums, table
from app.budgets import escaped
from app.charts import money as money_charts
from app.page import page
from app.table import Column
from app.views import _model_costs
from queries import measure
from queries.display import Shown, words
from queries.measures import per_unit, spending

_UNITS = (
    per_unit.PROMPT_TOKENS_COST,
    per_unit.GENERATED_TOKENS_COST,
    per_unit.MILLION_TOKENS_COST,
    per_unit.SAMPLES_COST,
)
_SERVED = (per_unit.SERVING_COST, per_unit.PROMPT_COST, per_unit.GENERATED_COST, per_unit.TRAINING_COST)
_PER_MILLION = per_unit.MANAGED_TOKENS_COST
_OWNERS = ("model", "team", "project", "user", "run")
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
_SERVED_TOKENS = (
    "Whose prompts and generated tokens a model server answered is not known: it counts them for all who ask it. "
)


@page("Models", section="Money", order=1, icon=":material/neurology:")
def models() -> None:
    """Show cost per model, how much of it was productive, and what names no model."""
    window = controls.days(controls.window())
    costs = _model_costs.models(window)
    if costs.frame.is_empty():
        st.info("No job with a price ran in this window. Name models in `clusterledger.toml`, section `[[models]]`.")
        _end(_managed(window))
        return
    currencies = list(data.once(measure.amounts, costs.frame, spending.MODELS_COST))
    currency = _currency(currencies)
    if not currency:
        st.info("No price of what these jobs held is known. Import a bill or a price list with `clusterledger ingest`.")
        return
    label = display.label(costs, currency)
    mine = data.once(_priced, costs.frame, currency)
    rest = data.once(sums.in_currency, _model_costs.modelless(window), currency)
    _headline(mine, rest, costs, currency)
    _whole(mine, rest, costs, currency)
    controls.say_days()
    links.to("cost", "The same by day, with what is no model's", by="model", window=controls.token(window))
    chart.show(
        money_charts.by_model,
        mine,
        currency,
        most=12,
        rest="underused, throttled or not known",
        key="bars",
        alt="Cost of each model, productive and idle",
    )
    st.subheader("Day by day", anchor=False)
    chart.show(
        money_charts.stacked,
        _model_costs.days(window),
        currency,
        key="days",
        alt="Cost of models by day",
    )
    _table(mine, label)
    owned = _by_owner(window, currency, label)
    _end(costs, _managed(window), *owned)


def _end(*shown: Shown) -> None:
    """Say at rates of which days money was converted, where it was."""
    if told := words(*shown):
        st.caption(told)


def _table(mine: pl.DataFrame, label: str) -> None:
    table.show(
        mine,
        {
            "model": Column("Model"),
            "provider": Column("Provider", help="Of models that a managed service bills; empty for your own."),
            "effective_cost": Column(f"Cost ({label})", "money"),
            "productive_cost": Column("Productive", "money"),
            "idle_cost": Column("Idle", "money"),
            spending.MODELS_PRODUCTIVE.name: Column("Productive share", "percent", spending.MODELS_PRODUCTIVE.means),
            "gpu_hours": Column("GPU-hours", "hours"),
            **table.prices(_UNITS, label),
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
    if controls.team() or controls.cluster():
        st.caption(
            f"{_SERVED_TOKENS}They stand here where neither a team nor a cluster is chosen; those of managed models go "
            "to whom `money.owners` names."
        )


def _managed(window: data.Window) -> Shown:
    """Show what is paid for models that others run, where the bill names them."""
    found = _model_costs.managed(window)
    if found.frame.is_empty():
        return found
    st.subheader("Models of managed services", anchor=False)
    table.show(
        data.once(sums.with_prices, found.frame, (_PER_MILLION,)),
        {
            "model": Column("Model"),
            "token_direction": Column("Direction"),
            "team": Column("Team", help="Whom `money.owners` names for the charge, such as by a tag."),
            "provider": Column("Provider"),
            "service_name": Column("Service"),
            "effective_cost": Column(display.label(found, found.currency, "Effective cost"), "money"),
            "billing_currency": Column("Currency"),
            "quantity": Column("Quantity", "count", "As the bill counts, in its own unit."),
            "unit": Column("Unit"),
            "token_count": Column("Tokens", "count", "The quantity in tokens, where the bill counts tokens."),
            _PER_MILLION.name: Column(
                display.label(found, found.currency, _PER_MILLION.title), "price", _PER_MILLION.means
            ),
        },
        key="managed",
        file_name="managed-models",
    )
    st.caption("As the bills name them; a team's are those that `money.owners` gives it. They are in the table above.")
    return found


def _headline(mine: pl.DataFrame, rest: pl.DataFrame, costs: Shown, currency: str) -> None:
    title = partial(display.label, costs, currency)
    with cards.row():
        cards.taken(spending.MODEL_COUNT, mine)
        cards.summed(spending.NAMED_COST, mine, of_rows_in=currency, label=title(spending.NAMED_COST.title))
        cards.parted(spending.MODELS_PRODUCTIVE, mine)
        cards.summed(spending.UNNAMED_COST, mine, of_rows_in=currency, label=title(spending.UNNAMED_COST.title))
        cards.summed(spending.MODELLESS_COST, rest, of_rows_in=currency, label=title(spending.MODELLESS_COST.title))


def _whole(mine: pl.DataFrame, rest: pl.DataFrame, costs: Shown, currency: str) -> None:
    """Say that models and what is no model's make up all that the estate cost on these days."""
    marked = {currency} if display.is_converted(costs, currency) else set[str]()
    held, apart = (
        data.once(measure.amounts, rows, of)
        for rows, of in ((mine, spending.MODELS_COST), (rest, spending.MODELLESS_COST))
    )
    of_buckets = data.once(measure.grouped, rest, ["bucket"], spending.MODELLESS_COST)
    parts = [
        f"{_BUCKETS[name]} {sums.shown({currency: cost}, compact=False, marked=marked)}"
        for name, cost in of_buckets.iter_rows()
    ]
    shown = {
        name: sums.shown(totals, compact=False, marked=marked) for name, totals in (("held", held), ("apart", apart))
    }
    total = sums.shown(sums.together(held, apart), compact=False, marked=marked)
    said = f"{shown['held']} for models and jobs"
    if parts:
        said += f", and {shown['apart']} of no model ({', '.join(parts)}), are together {total}: all AI spend"
    st.caption(escaped(f"{said}."))


def _currency(currencies: list[str]) -> str:
    """Return the currency that is shown, '' where no price is known."""
    if len(currencies) <= 1:
        return currencies[0] if currencies else ""
    chosen = st.segmented_control("Currency", currencies, default=currencies[0], key="currency", bind="query-params")
    return str(chosen or currencies[0])


def _priced(costs: pl.DataFrame, currency: str) -> pl.DataFrame:
    mine = measure.with_each(sums.in_currency(costs, currency), ["model"], spending.MODELS_PRODUCTIVE)
    return sums.with_prices(mine, _UNITS)


def _by_owner(window: data.Window, currency: str, label: str) -> tuple[Shown, ...]:
    """Show what runs cost by their owner, and what idled between them as a row of its own."""
    st.subheader("Cost per unit", anchor=False)
    # What is chosen stands in the URL as it is shown.
    by = str(st.segmented_control("Of each", _OWNERS, default="team", key="unit", bind="query-params") or "team")
    found, shown = _model_costs.owned(window, by)
    rows = data.once(_priced_owners, found, currency)
    if rows.is_empty():
        st.caption("Nothing was held in this window, in this currency.")
        return shown
    columns = {
        "name": Column(by.capitalize(), width=table.RUN_WIDTH if by == "run" else None),
        "kind": Column("Of it", help=_BETWEEN),
        "effective_cost": Column(f"Cost ({label})", "money", per_unit.OWNER_COST.means),
        **table.prices(per_unit.OWNER_UNITS, label),
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
    if by in {"team", "project", "user"}:
        st.caption(f"{_SERVED_TOKENS}Their price stands above, by model.")
    return shown


def _priced_owners(rows: pl.DataFrame, currency: str) -> pl.DataFrame:
    return sums.with_prices(sums.in_currency(rows, currency), per_unit.OWNER_UNITS)
