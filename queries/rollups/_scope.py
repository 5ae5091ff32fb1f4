"""Which charges belong to the AI estate, as the configuration says it."""

import json
from collections.abc import Mapping, Sequence

import polars as pl

from ledger.money_sections import CostOwner, ScopeSettings

ACCOUNT_COLUMNS = ("BillingAccountId", "SubAccountId")


def in_scope(charges: pl.DataFrame, scope: ScopeSettings) -> pl.Series:
    """Tell for each charge whether an account, tag, service or resource of the configuration names it.

    With nothing configured every charge belongs. Resource ids are compared case folded.
    Nulls: a charge without the field is not matched by it, and the answer is never null.
    """
    if not (scope.accounts or scope.tags or scope.services or scope.resources):
        return pl.Series("in_scope", [True], dtype=pl.Boolean).new_from_index(0, charges.height)
    parts = [pl.col(each).is_in(list(scope.accounts)) for each in ACCOUNT_COLUMNS] if scope.accounts else []
    parts.extend(_named("ServiceName", name, fold=False) for name in scope.services)
    parts.extend(_named("ResourceId", name, fold=True) for name in scope.resources)
    if scope.tags:
        tagged = [text for text in charges["Tags"].drop_nulls().unique() if _has_tag(tags_of(text), scope.tags)]
        parts.append(pl.col("Tags").is_in(tagged))
    named = pl.any_horizontal(part.fill_null(value=False) for part in parts)
    return charges.select(named.alias("in_scope")).to_series()


def owner_team(charges: pl.DataFrame, owners: Sequence[CostOwner]) -> pl.Expr:
    """Return the team that the first matching rule names for each charge, '' where none does."""
    team: pl.Expr = pl.lit("")
    for each in reversed(owners):
        if each.field == "tag":
            tagged = [text for text in charges["Tags"].drop_nulls().unique() if _has_tag(tags_of(text), (each.value,))]
            mine = pl.col("Tags").is_in(tagged)
        elif each.field == "account":
            mine = pl.any_horizontal(_named(name, each.value, fold=False) for name in ACCOUNT_COLUMNS)
        else:
            column = "ResourceId" if each.field == "resource" else "ServiceName"
            mine = _named(column, each.value, fold=each.field == "resource")
        team = pl.when(mine.fill_null(value=False)).then(pl.lit(each.team)).otherwise(team)
    return team


def tags_of(text: str | None) -> Mapping[str, str]:
    """Return the tags of a charge; empty where the text is no JSON object."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _has_tag(tags: Mapping[str, str], wanted: tuple[str, ...]) -> bool:
    for each in wanted:
        name, equals, value = each.partition("=")
        if name in tags and (not equals or tags[name] == value):
            return True
    return False


def _named(column: str, name: str, *, fold: bool) -> pl.Expr:
    """Return whether a column is a name, or starts with what stands before its trailing star."""
    value, wanted = (pl.col(column).str.to_lowercase(), name.lower()) if fold else (pl.col(column), name)
    return value.str.starts_with(wanted[:-1]) if wanted.endswith("*") else value == wanted
