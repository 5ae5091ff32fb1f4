"""Whose job it is and which model it serves: ordered rules over what the scheduler says of a job."""

import re
from functools import reduce

import polars as pl
from pydantic import BaseModel, ConfigDict

from ledger.names import UNASSIGNED, UNATTRIBUTED
from ledger.sections import Match

COLUMNS = ("user", "account", "team", "model", "workload_kind", "job_name", "partition", "labels", "comment")
"""What a rollup must read of `job` to name its team and model."""


class Naming(BaseModel):
    """The naming rules of the configuration; the first that matches wins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    teams: tuple[Match, ...] = ()
    models: tuple[Match, ...] = ()


def named(jobs: pl.DataFrame, naming: Naming) -> pl.DataFrame:
    """Return jobs with `team`, `model` and `workload_kind` filled.

    A rule goes before the source's own word, that before the account; what nothing names is `unassigned` or
    `unattributed`.
    """
    return jobs.with_columns(
        pl.coalesce(_first(naming.teams), _said("team"), _said("account"), pl.lit(UNASSIGNED)).alias("team"),
        pl.coalesce(_first(naming.models), _said("model"), pl.lit(UNATTRIBUTED)).alias("model"),
        pl.col("workload_kind").fill_null(""),
    )


def _said(column: str) -> pl.Expr:
    """Return what the source says, null where it says nothing."""
    return pl.when(pl.col(column) != "").then(pl.col(column))


def _first(rules: tuple[Match, ...]) -> pl.Expr:
    """Return the name that the first matching rule gives, null if none matches."""
    found: pl.Expr = pl.lit(None, dtype=pl.String)
    return reduce(
        lambda rest, rule: pl.when(_matches(rule)).then(pl.lit(rule.name)).otherwise(rest), rules[::-1], found
    )


def _matches(rule: Match) -> pl.Expr:
    """Return whether a job fits one rule; endpoints belong to servers and fit no job."""
    if rule.field == "endpoint":
        return pl.lit(value=False)
    if rule.field == "label":
        key, _, value = rule.value.partition("=")
        label = pl.col("labels").str.extract(rf'"{re.escape(key)}"\s*:\s*"((?:[^"\\]|\\.)*)"', 1)
        return label.is_not_null() if not value else _fits(label, value)
    return _fits(pl.col(rule.field), rule.value)


def _fits(said: pl.Expr, value: str) -> pl.Expr:
    """Return whether a text equals a value, or begins with it where the value ends in *."""
    if value.endswith("*"):
        return said.str.starts_with(value.removesuffix("*")).fill_null(value=False)
    return said.eq(value).fill_null(value=False)
