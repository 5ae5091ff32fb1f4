"""The weekly report of the simulated cluster, made and sent."""

from dataclasses import replace
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

from app import data
from app.context import Context
from app.data import Scope
from app.reports import week
from app.reports.weekly import Weekly
from app.reports.weekly_rows import gather
from app.services import named
from app.services.findings import standing
from ledger.exchange import Exchange
from ledger.tables import ForecastDay
from tests.app.mail_server import MailServer
from tests.demo import DEMO_NOW, settings_of

READER = "manager@example.org"
WEEK = week.last_complete(DEMO_NOW, week.zone_of("UTC"))


class Clock:
    """A clock that a test moves."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


def readied(context: Context, mail: dict[str, object], *readers: dict[str, str], clock: Clock | None = None) -> Context:
    """Return the context with a mail server and readers."""
    path = Path(context.settings.store.url.removeprefix("duckdb:"))
    settings = settings_of(path, mail=mail, report={"recipients": [{"address": READER}, *readers]})
    return replace(context, settings=settings, now=clock or context.now, _store=context.store)


def reported(context: Context, **asked: object) -> Any:
    service = named("report")
    return service.run(context, service.asked(asked))


def weekly_of(
    context: Context,
    *,
    team: str = "",
    of: week.Week = WEEK,
    mailed: tuple[str, ...] = (),
    exchange: Exchange | None = None,
) -> Weekly:
    return gather(
        partial(data.answered, context, scope=Scope()),
        standing(context),
        context.store.read(ForecastDay),
        of,
        context.now(),
        team=team,
        url="https://ledger.example.org/",
        mailed=mailed,
        rules=context.settings.money,
        stored=context.settings.money,
        exchange=exchange,
    )


def parsed(server: MailServer, index: int = 0) -> EmailMessage:
    found = message_from_bytes(server.inbox.mails[index][1], policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found
