"""The settings that fit a simulated estate: a demo names its teams and models without a configuration file."""

import polars as pl

from app.context import Context
from collectors import simulate
from ledger.config import Settings
from ledger.money_sections import ScopeSettings
from ledger.sections import Match
from ledger.tables import Node


def fitted(context: Context) -> Settings:
    """Return the settings for computing: where the store is a demo, with its naming rules and its scope.

    What the operator configured stays as it is.
    """
    settings = context.settings
    if settings.teams or settings.models or settings.money.scope != ScopeSettings():
        return settings
    sources = context.store.read(Node, columns=("source",))
    if sources.filter(pl.col("source") == "simulation").is_empty():
        return settings
    given = simulate.settings()
    scope = ScopeSettings.model_validate(given["money"]["scope"])
    return settings.model_copy(
        update={
            "teams": tuple(Match.model_validate(each) for each in given["teams"]),
            "models": tuple(Match.model_validate(each) for each in given["models"]),
            "money": settings.money.model_copy(update={"scope": scope}),
            "rollups": {**given["rollups"], **settings.rollups},
        }
    )
