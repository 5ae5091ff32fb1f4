"""What becomes of cost without a device: it stays apart, or goes to an owner, to teams or to jobs by declared rules."""

import json
from collections.abc import Mapping
from typing import Final

import polars as pl

from ledger import money
from ledger.money_sections import MoneySettings
from queries.rollups._direct import Traffic, by_bytes
from queries.rollups._leaves import HOLDER, nobody
from queries.rollups._split_rules import weights_said

NOT_SPLIT: Final = "not_split"
NOT_ATTRIBUTABLE: Final = "not_attributable"
OWNER: Final = "owner"

MEASURES: Final = ("billed_cost", "effective_cost")

_MARKET: Final = ("hour_start", "provider", "billing_currency")
_ABOUT: Final = ("row", *_MARKET, "cluster", "node", "resource_id", "cost_kind", "named_model", "in_scope")
_MILLIONTHS: Final = 1_000_000


def is_shared(settings: MoneySettings) -> bool:
    """Tell whether any shared cost is divided at all."""
    return {settings.shared_cost, *settings.shared_cost_rules.values()} != {"apart"}


def shared_out(
    apart: pl.DataFrame, rows: pl.DataFrame, divided: pl.DataFrame, traffic: Traffic, settings: MoneySettings
) -> pl.DataFrame:
    """Divide shared costs of the AI estate by the rule of their kind; what is owned already stays with its owner.

    Proportional and even: over the teams that held devices of the provider in the hour. Direct: to who moved the
    bytes; what no counter tells is `not_attributable`. What a rule finds nobody for stays apart.
    """
    about = rows.select(_ABOUT)
    kind = pl.col("cost_kind")
    rule = kind.replace_strict(dict(settings.shared_cost_rules), default=settings.shared_cost, return_dtype=pl.String)
    mine = (pl.col("bucket") == "shared") & pl.col("in_scope") & (pl.col("team") == "")
    spread = (
        apart.with_row_index("part")
        .join(about, on="row")
        .with_columns(pl.when(mine).then(rule).otherwise(pl.lit("apart")).alias("rule"))
    )
    parts = [spread.filter(pl.col("rule") == "apart")]
    for each in sorted(set(spread["rule"]) - {"apart"}):
        whole = spread.filter(pl.col("rule") == each)
        leaves = _leaves(each, whole, divided, about, traffic, settings)
        split = money.apportion(whole, leaves, by=["part"], weight="weight", tie=HOLDER, columns=MEASURES)
        parts += [_named(split.parts, each), _named(split.unplaced, each)]
    return pl.concat([each.select(apart.columns) for each in parts])


def said(settings: MoneySettings) -> Mapping[str, str]:
    """Return what each way of dividing a cost weighs, as FOCUS has it in AllocatedMethodDetails: an object of JSON."""
    ratios = {team: str(ratio) for team, ratio in sorted(settings.shared_cost_ratios.items())}
    rules: dict[str, object] = {
        **weights_said(settings),
        "shared_proportional": {"x_Unit": "GPU-Seconds"},
        "shared_even": {"x_Unit": "Teams"},
        "shared_fixed": {"x_Ratios": ratios},
        "shared_direct": {"x_Unit": "Bytes"},
        OWNER: {"x_Source": "money.owners"},
    }
    return {rule: json.dumps(details, separators=(",", ":")) for rule, details in rules.items()}


def _leaves(
    rule: str,
    whole: pl.DataFrame,
    divided: pl.DataFrame,
    about: pl.DataFrame,
    traffic: Traffic,
    settings: MoneySettings,
) -> pl.DataFrame:
    """Return who bears each part of a cost, with whole-number weights."""
    bare = whole.drop(*HOLDER, *MEASURES)
    if rule == "fixed":
        return bare.join(_fixed(settings), how="cross")
    # By devices alone: who bears a cost must not depend on how nodes are split.
    held = divided.filter(pl.col("bucket") == "allocated", pl.col("gpu_uuid") != "").join(
        about.drop("in_scope"), on="row"
    )
    if rule == "direct":
        nodes = about.filter(pl.col("node") != "")
        return bare.join(by_bytes(bare, held, nodes, traffic, settings.file_systems), on="part")
    weight = pl.lit(1) if rule == "even" else (pl.col("held_gpu_seconds").sum() * 1000)
    teams = held.group_by(*_MARKET, "team").agg(weight.cast(pl.Int64).alias("weight"))
    return bare.join(_as_holders(teams), on=_MARKET)


def _named(parts: pl.DataFrame, rule: str) -> pl.DataFrame:
    """Return parts with the name of the rule and the model that the bill names, where a holder has none of its own.

    What the rule left without a team says that it was not split.
    """
    left = NOT_ATTRIBUTABLE if rule == "direct" else NOT_SPLIT
    method = pl.when(pl.col("team") == "").then(pl.lit(left)).otherwise(pl.lit(f"shared_{rule}"))
    model = pl.when(pl.col("model") == "").then("named_model").otherwise("model")
    return parts.with_columns(method.alias("allocated_method_id"), model.alias("model"))


def _fixed(settings: MoneySettings) -> pl.DataFrame:
    """Return each team's share in millionths; the rest is nobody's and stays apart."""
    shares = {team: int(ratio * _MILLIONTHS) for team, ratio in sorted(settings.shared_cost_ratios.items())}
    rest = _MILLIONTHS - sum(shares.values())
    named = [(team, share) for team, share in ({"": rest} | shares).items() if share]
    return _as_holders(pl.DataFrame(named, schema={"team": pl.String, "weight": pl.Int64}, orient="row"))


def _as_holders(teams: pl.DataFrame) -> pl.DataFrame:
    """Return teams as holders without a user and a job."""
    return teams.with_columns(each for each in nobody() if each.meta.output_name() != "team")
