"""The rules by which cost is divided, as a reader chooses them: the same controls and words on every page."""

import streamlit as st

from app import data
from ledger.money_sections import SHARED_COST_RULES, SPLIT_RULES, MoneySettings
from queries import other_rules

TRYING = "Dividing each hour by these rules, exactly"

TABLES = ("allocation_hour", "cost_hour", "gpu_hour", "job_gpu_hour", "network_hour", "spend_day", "storage_hour")
"""What cost under other rules than the stored ones is computed from."""


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
        "they held, evenly, in the fixed shares of `money.shared_cost_ratios`, or directly to who moved the bytes. What "
        "a node moved that several teams held stays nobody's then: its counters do not tell them apart. "
        "Kinds of cost may have rules of their own, in `money.shared_cost_rules`.",
    )
    return other_rules.tried(stored, split, shared)


def told(rules: MoneySettings, effect: str = "change no total") -> str:
    """Say by which rules cost was divided, which are stored, and what others do."""
    stored = data.settings().money
    return (
        f"Split rule: `{rules.split_rule}`, shared cost: `{rules.shared_cost}`. Stored are `{stored.split_rule}` and "
        f"`{stored.shared_cost}`, from `[money]`; others are computed here and {effect}."
    )
