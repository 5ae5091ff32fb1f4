"""Asking the services of a cluster now, in the place of waiting for the hub to do it at its pace."""

import time
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field

from app.context import Context
from app.services import _pulling
from app.services._service import Params, Progress, service
from collectors.cluster._configured import configured
from ledger.errors import ConfigError, InputError


class Asked(Params):
    """Which sources, and for which time."""

    names: Annotated[tuple[str, ...], Field(description="Sections of [sources]; empty for all that are enabled")] = ()
    since: Annotated[AwareDatetime | None, Field(description="From this instant; else from where it is known")] = None
    until: Annotated[AwareDatetime | None, Field(description="Up to this instant; else up to now")] = None


@service()
def pull(context: Context, params: Asked, progress: Progress) -> list[dict[str, object]]:
    """Ask sources for what happened, and return what each gave; one that fails stops no other."""
    if params.since is not None and params.until is not None and params.since >= params.until:
        raise InputError(f"since: found {_shown(params.since)}, expected an instant before {_shown(params.until)}")
    try:
        sources = configured(context.settings, params.names)
    except ConfigError as error:
        raise InputError(error.message, hint=error.hint) from None
    found = []
    for index, source in enumerate(sources):
        progress(source.name, index / len(sources))
        began = time.monotonic()
        outcome = _pulling.pull(context, source, params.since, params.until)
        found.append(_pulling.shown(outcome, time.monotonic() - began))
    return found


def _shown(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
