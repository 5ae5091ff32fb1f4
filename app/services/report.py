"""The weekly report: written, looked at, or sent once to each of its readers."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Annotated

import polars as pl
from pydantic import Field

from app import display
from app.budgets import standing as standing_budgets
from app.context import Context
from app.data import Scope
from app.headline import Answer, month_so_far
from app.reports import message, pictures, render, week
from app.reports.weekly import Weekly
from app.reports.weekly_rows import gather
from app.services._by_rules import ByRules
from app.services._service import Progress, service
from app.services.findings import standing
from ledger.errors import InputError
from ledger.frames import to_frame
from ledger.money_sections import MoneySettings
from ledger.sections import Recipient
from ledger.tables import ForecastDay, ReportDelivery
from queries import sql
from queries.divided import divided

_PREVIEW = "preview@localhost"


class Report(ByRules):
    """Which week, for whom, and where it goes."""

    week: Annotated[str, Field(description="ISO week such as 2026-W47; empty for the last complete one")] = ""
    to: Annotated[str, Field(description="Send it to this address instead of the configured readers")] = ""
    team: Annotated[str, Field(description="Only this team's numbers, with --to")] = ""
    out: Annotated[Path | None, Field(description="Folder to write .eml, .html and .txt into")] = None
    send: Annotated[bool, Field(description="Hand it to the mail server")] = False


@service(writes="out")
def report(context: Context, params: Report, progress: Progress) -> dict[str, object]:
    """Write or send the weekly report, and return what became of it: per reader, the files, who it was sent to.

    A configured reader gets a week once; --to sends it again to whom it names. Without --send nothing leaves.
    An address that the mail server refuses does not keep the others from theirs.

    Raises: RefusedError: such an address, after the others were served.
    """
    settings = context.settings
    chosen = _week(context, params)
    rules = params.rules(settings.money)
    readers = _readers(params, settings.report.recipients)
    if params.send and not readers:
        raise InputError("report: found no reader", hint="give --to, or set [[report.recipients]]")
    done: list[dict[str, object]] = []
    refused: list[message.RefusedError] = []
    with _asked(context, rules, chosen) as answer:
        for index, reader in enumerate(readers or [Recipient(address=_PREVIEW, team=params.team)]):
            progress(f"report for {reader.address}", index / max(len(readers), 1))
            row: dict[str, object] = {"week": chosen.name, "recipient": reader.address, "team": reader.team}
            if params.send and not params.to and _was_sent(context, chosen, reader):
                done.append({**row, "status": "sent before", "subject": "", "files": []})
                continue
            weekly = _gathered(context, answer, rules, chosen, reader)
            try:
                done.append({**row, **_done(context, weekly, reader, params)})
            except message.RefusedError as error:
                refused.append(error)
    if refused:
        raise refused[0]
    files = [each for row in done for each in _listed(row["files"])]
    return {"reports": done, "files": files, "sent": [row["recipient"] for row in done if row["status"] == "sent"]}


def _done(context: Context, weekly: Weekly, reader: Recipient, params: Report) -> dict[str, object]:
    """Write or send one reader's report, as far as is asked for, and say what became of it.

    Raises: RefusedError: the mail server does not take the address.
    """
    mail = message.compose(weekly, context.settings.mail, reader.address)
    paths = _write(weekly, mail, params.out) if params.out else []
    if params.send:
        message.send([mail], context.settings.mail)
        _record(context, weekly, reader, mail)
    status = "sent" if params.send else "written" if params.out else "dry run"
    return {"status": status, "subject": weekly.subject, "files": [str(path) for path in paths]}


@contextmanager
def _asked(context: Context, rules: MoneySettings, chosen: week.Week) -> Iterator[Answer]:
    """Give what answers questions: the ledger, or what other rules make of the days that the report is about."""
    store = context.store
    if rules == context.settings.money:
        yield lambda question, **asked: store.select(sql.load(question).text, **asked)
        return
    windows = [chosen.window, chosen.before.window, month_so_far(context.now())]
    with divided(store, rules, windows, context.now()) as answer:
        yield answer


def _listed(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _week(context: Context, params: Report) -> week.Week:
    zone = week.zone_of(context.settings.report.time_zone)
    return week.named(params.week, zone) if params.week else week.last_complete(context.now(), zone)


def _readers(params: Report, configured: tuple[Recipient, ...]) -> list[Recipient]:
    if not params.to:
        return list(configured)
    if "@" not in params.to.strip("@") or any(letter.isspace() for letter in params.to):
        raise InputError(f"--to: found {params.to!r}, expected a mail address")
    return [Recipient(address=params.to, team=params.team)]


def _gathered(context: Context, answer: Answer, rules: MoneySettings, chosen: week.Week, reader: Recipient) -> Weekly:
    return gather(
        answer,
        standing(context),
        context.store.read(ForecastDay),
        chosen,
        context.now(),
        team=reader.team,
        url=context.settings.hub.url,
        mailed=_mailed(context, reader),
        budgets=standing_budgets(context, Scope("team", reader.team) if reader.team else Scope()),
        rules=rules,
        stored=context.settings.money,
        exchange=display.known(context),
    )


def _mailed(context: Context, reader: Recipient) -> list[str]:
    """Return the findings that this reader was told within the cool-down."""
    since = context.now() - timedelta(days=context.settings.report.cool_down_days)
    sent = context.store.read(ReportDelivery).filter(
        (pl.col("recipient") == reader.address)
        & pl.col("report").str.starts_with("finding:")
        & (pl.col("sent_at") > since)
    )
    return sent["report"].str.strip_prefix("finding:").to_list()


def _was_sent(context: Context, chosen: week.Week, reader: Recipient) -> bool:
    sent = context.store.read(ReportDelivery)
    return not sent.filter(
        (pl.col("report") == "weekly") & (pl.col("period") == chosen.name) & (pl.col("recipient") == reader.address)
    ).is_empty()


def _record(context: Context, weekly: Weekly, reader: Recipient, mail: EmailMessage) -> None:
    """Keep that it was sent, and which findings it told: the server has taken it by now."""
    names = ["weekly", *(f"finding:{action.finding_id}" for action in weekly.actions)]
    rows = [
        {
            "report": name,
            "period": weekly.week.name,
            "recipient": reader.address,
            "message_id": str(mail["Message-ID"]),
            "sent_at": context.now(),
        }
        for name in names
    ]
    context.store.append(ReportDelivery, to_frame(ReportDelivery, rows), source=context.actor)
    context.changed({"report_delivery"})


def _write(weekly: Weekly, mail: EmailMessage, folder: Path) -> list[Path]:
    stem = f"weekly-{weekly.week.name}" + (f"-{weekly.team}" if weekly.team else "")
    inline = {
        name: f"data:image/png;base64,{base64.b64encode(picture).decode()}"
        for name, picture in pictures.drawn(weekly).items()
    }
    contents = {
        ".eml": mail.as_bytes(),
        ".html": render.html(weekly, inline).encode(),
        ".txt": render.text(weekly).encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, content in contents.items():
            (folder / f"{stem}{suffix}").write_bytes(content)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}", hint="choose another folder with --out") from None
    return [folder / f"{stem}{suffix}" for suffix in contents]
