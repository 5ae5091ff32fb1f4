"""Telling receivers and readers of mail of budgets and unusual days: each once, again later where it did not arrive."""

from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from typing import Any, Final

import httpx2

from app.context import Context
from app.money_news import MoneyNews, fresh, news
from app.receivers import money_call
from app.reports import message
from app.tell import Problem, posted, wait_after
from collectors._tls import trusting
from ledger.errors import ClusterLedgerError
from ledger.frames import to_frame
from ledger.log import log
from ledger.sections import Receiver, Recipient
from ledger.tables import MoneyNotice

_SECONDS: Final = 10.0

_ALL: Final = ("budgets", "anomalies")


def tell_of_money(context: Context) -> str:
    """Tell everybody what they are to be told now, and return what was done, in words; nothing to do is not said."""
    found = news(context)
    told = waiting = 0
    known = _known(context)
    for receiver in context.settings.notify:
        counts = _tell(context, receiver, found, known.get(receiver.name, {}))
        told, waiting = told + counts[0], waiting + counts[1]
    if context.settings.mail.host:
        for reader in context.settings.report.recipients:
            counts = _mail(context, reader, found, known.get(_mail_name(reader), {}))
            told, waiting = told + counts[0], waiting + counts[1]
    return f"Of money: {told} told, {waiting} waiting" if told or waiting else ""


def wants_money(context: Context) -> bool:
    """Tell whether anybody is to be told of budgets or unusual days."""
    settings = context.settings
    return any(set(each.about) & set(_ALL) for each in settings.notify) or bool(
        settings.mail.host and settings.report.recipients
    )


def _known(context: Context) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the notices by receiver and event."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in context.store.read(MoneyNotice).iter_rows(named=True):
        found.setdefault(row["receiver"], {})[row["event_id"]] = row
    return found


def _due(
    context: Context,
    found: Sequence[MoneyNews],
    known: Mapping[str, Mapping[str, Any]],
    team: str,
    about: Sequence[str],
) -> tuple[list[MoneyNews], int]:
    """Return what is told now, and how many wait for a later try."""
    told = frozenset(event for event, row in known.items() if row["told_at"] is not None)
    new = fresh(found, told, team, about)
    now = context.now()
    later = [each for each in new if (at := known.get(each.event_ids[0], {}).get("next_attempt_at")) and at > now]
    return [each for each in new if each not in later], len(later)


def _tell(
    context: Context, receiver: Receiver, found: Sequence[MoneyNews], known: Mapping[str, Mapping[str, Any]]
) -> tuple[int, int]:
    """Tell one receiver; return how many it was told, and how many wait."""
    new, later = _due(context, found, known, receiver.team, receiver.about)
    if not new:
        return 0, later
    now = context.now()
    problem: Problem | None
    try:
        tls = trusting(f"notify.{receiver.name}", receiver.ca_file)
        with httpx2.Client(timeout=_SECONDS, verify=True if tls is None else tls) as client:
            problem = posted(client, money_call(receiver, new, now, context.settings.hub.url), now)
    except ClusterLedgerError as error:
        problem = Problem(error.message)
    return _noted(context, receiver.name, new, known, problem, later)


def _mail(
    context: Context, reader: Recipient, found: Sequence[MoneyNews], known: Mapping[str, Mapping[str, Any]]
) -> tuple[int, int]:
    """Send one reader what is new, in one mail."""
    new, later = _due(context, found, known, reader.team, _ALL)
    if not new:
        return 0, later
    problem = None
    try:
        message.send([_composed(context, reader, new)], context.settings.mail)
    except ClusterLedgerError as error:
        problem = Problem(error.message)
    return _noted(context, _mail_name(reader), new, known, problem, later)


def _mail_name(reader: Recipient) -> str:
    return f"mail:{reader.address}:{reader.team}"


def _composed(context: Context, reader: Recipient, new: Sequence[MoneyNews]) -> EmailMessage:
    settings, url = context.settings.mail, context.settings.hub.url.rstrip("/")
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = new[0].text if len(new) == 1 else f"{new[0].text} And {len(new) - 1} more"
    mail["From"] = settings.sender
    mail["To"] = reader.address
    mail["Date"] = format_datetime(context.now())
    mail["Message-ID"] = make_msgid(domain=settings.sender.rpartition("@")[2] or "localhost")
    mail["Auto-Submitted"] = "auto-generated"
    message.unsubscribe(mail, settings)
    lines = "\n\n".join(f"* {each.text}" for each in new)
    link = f"\n\n{url}/{new[0].page}" if url else ""
    mail.set_content(f"{lines}{link}\n\nEach of these is told once. The weekly report says how budgets stand.\n")
    return mail


def _noted(
    context: Context,
    name: str,
    new: Sequence[MoneyNews],
    known: Mapping[str, Mapping[str, Any]],
    problem: Problem | None,
    later: int,
) -> tuple[int, int]:
    """Keep how a call went; return how many were told, and how many wait."""
    now = context.now()
    rows = []
    for each in new:
        for event in each.event_ids:
            attempts = known.get(event, {}).get("attempt_count", 0)
            rows.append(
                {
                    "receiver": name,
                    "event_id": event,
                    "told_at": now if problem is None else None,
                    "attempt_count": attempts if problem is None else attempts + 1,
                    "next_attempt_at": None if problem is None else now + wait_after(attempts, problem.asked_seconds),
                    "message": None if problem is None else problem.message,
                }
            )
    context.store.append(MoneyNotice, to_frame(MoneyNotice, rows), source="notify")
    context.changed({"money_notice"})
    if problem is not None:
        log.warning("receiver did not take news", receiver=name, error=problem.message)
        return 0, later + len(new)
    return len(new), later
