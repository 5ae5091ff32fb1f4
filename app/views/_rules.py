"""The rules by which cost is divided, as a reader chooses them: the same controls and words on every page."""

import time
from collections.abc import Callable

import polars as pl
import streamlit as st

from app import controls, data
from ledger.money_sections import SHARED_COST_RULES, SPLIT_RULES, MoneySettings
from queries import other_rules

TRYING = "Dividing each hour by these rules, exactly"

TABLES = ("allocation_hour", "cost_hour", "gpu_hour", "job_gpu_hour", "network_hour", "spend_day", "storage_hour")
"""What cost under other rules than the stored ones is computed from."""


Progress = Callable[[float], object]
"""Is told which share of the days is computed."""


def choose() -> MoneySettings:
    """Draw the choices, kept in the URL, and return the rules: the stored ones, or those that are tried."""
    stored = data.settings().money
    split_rules = [*SPLIT_RULES, "custom"] if stored.split_ratios else list(SPLIT_RULES)
    shared_rules = [rule for rule in SHARED_COST_RULES if rule != "fixed" or stored.shared_cost_ratios]
    split = st.selectbox(
        "Split rule",
        split_rules,
        index=split_rules.index(stored.split_rule),
        key="split",
        bind="query-params",
        width=220,
        help="How a node's price is divided among GPUs, processors and memory. Totals stay the same.",
    )
    shared = st.selectbox(
        "Shared cost",
        shared_rules,
        index=shared_rules.index(stored.shared_cost),
        key="shared",
        bind="query-params",
        width=180,
        help="What happens to tax, support and services for everybody: kept apart, or divided over teams by what "
        "they held, evenly, in the fixed shares of `money.shared_cost_ratios`, or directly to who moved the bytes. "
        "What a node moved that several teams held stays nobody's then: its counters do not tell them apart. "
        "Kinds of cost may have rules of their own, in `money.shared_cost_rules`.",
    )
    return other_rules.tried(stored, split, shared)


def tried(
    name: str, compute: Callable[[Progress], pl.DataFrame], rules: MoneySettings, window: data.Window, **asked: str
) -> tuple[pl.DataFrame, float]:
    """Return what is computed under rules that are tried, kept for who asks again, and how many seconds it took."""

    def make() -> tuple[pl.DataFrame, float]:
        began = time.perf_counter()
        bar = st.progress(0.0, TRYING)
        found = compute(lambda share: bar.progress(share, TRYING))
        bar.empty()
        return found, time.perf_counter() - began

    chosen = (rules.split_rule, rules.shared_cost)
    return data.made(name, TABLES, make, scope=controls.scope(), rules=chosen, window=window, **asked)


def told(rules: MoneySettings, effect: str = "change no total") -> str:
    """Say by which rules cost was divided, which are stored, and what others do."""
    stored = data.settings().money
    return (
        f"Split rule: `{rules.split_rule}`, shared cost: `{rules.shared_cost}`. Stored are `{stored.split_rule}` and "
        f"`{stored.shared_cost}`, from `[money]`; others are computed here and {effect}."
    )
