"""One pass over idle incidents: who is to be told what, told, tried again later where the receiver was away."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import httpx2
import polars as pl

from app.context import Context
from app.notices import Known, Notice, after_failure, after_success, events_of, key_of, told_next
from app.receivers import News, call_of
from app.tell import Problem, posted, wait_after
from collectors._tls import trusting
from ledger.errors import ClusterLedgerError
from ledger.frames import to_frame
from ledger.log import log
from ledger.sections import Receiver
from ledger.tables import IdleIncident, IncidentDecision, IncidentExemption, IncidentNotice
from ledger.tables.partition import WHOLE
from queries.incidents import INCIDENT, standing

_SECONDS: Final = 10.0
_MOST_AT_ONCE: Final = 100
"""How many incidents go into one call: receivers limit its size."""

_RECENT: Final = timedelta(days=2)

_CLOSED_FIELDS: Final = ("model", "job_name", "billing_currency", "effective_cost", "is_estimated")


def notify(context: Context) -> str:
    """Tell every receiver what it is to be told now, and return what was done, in words."""
    before = context.store.read(IncidentNotice)
    found = _incidents(context, before)
    # What a receiver knew that is configured no more is kept: it may come back.
    state: dict[str, list[Notice]] = defaultdict(list)
    for each in before.iter_rows(named=True):
        state[each["receiver"]].append(each)
    told = waiting = 0
    for receiver in context.settings.notify:
        if "incidents" not in receiver.about:
            continue
        known = told_next(found, state[receiver.name], receiver, context.now())
        state[receiver.name] = [each.notice for each in known]
        # What is to be told stands in the store before it is told: a hub that is killed goes on with it.
        _keep(context, state)
        state[receiver.name] = after = _tell(context, receiver, known)
        _keep(context, state)
        waiting += sum(1 for each in after if each["pending"])
        told += sum(1 for was, each in zip(known, after, strict=True) if was.notice["pending"] and not each["pending"])
    return f"{told} told, {waiting} waiting"


def _incidents(context: Context, notices: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the incidents that last, ended lately, or of whose end somebody has not been told yet."""
    store, now = context.store, context.now()
    with store.transaction():
        found = store.read(IdleIncident)
        decisions, exemptions = store.read(IncidentDecision), store.read(IncidentExemption)
    open_ends = notices.filter((pl.col("told") == "opened") | (pl.col("pending") != "")).select(INCIDENT).unique()
    is_recent = pl.col("closed_at").is_null() | (pl.col("closed_at") > now - _RECENT)
    found = pl.concat([found.filter(is_recent), found.filter(~is_recent).join(open_ends, on=INCIDENT, how="semi")])
    endless = found.with_columns(closed_at=pl.lit(None, dtype=found.schema["closed_at"]))
    lasting = standing(endless, decisions, exemptions, now)["status"].alias("status_while_lasting")
    return standing(found, decisions, exemptions, now).with_columns(lasting).to_dicts()


def _keep(context: Context, state: Mapping[str, Sequence[Notice]]) -> None:
    frame = to_frame(IncidentNotice, [each for notices in state.values() for each in notices])
    if context.store.replace(IncidentNotice, frame, partitions=[WHOLE]):
        context.changed({"incident_notice"})


def _tell(context: Context, receiver: Receiver, known: Sequence[Known]) -> list[Notice]:
    """Tell one receiver what is pending, oldest first, and return its notices after that."""
    now = context.now()
    notices = {key_of(each.notice): each.notice for each in known}
    waiting = {key: each for key, each in notices.items() if each["next_attempt_at"] and each["next_attempt_at"] > now}
    if not all(each["is_refused"] for each in waiting.values()):
        return list(notices.values())
    news = _news(receiver, [each for each in known if key_of(each.notice) not in waiting], now)
    try:
        tls = trusting(f"notify.{receiver.name}", receiver.ca_file)
        with httpx2.Client(timeout=_SECONDS, verify=True if tls is None else tls) as client:
            for start in range(0, len(news), _MOST_AT_ONCE):
                part = news[start : start + _MOST_AT_ONCE]
                if not _taken(context, client, receiver, part, notices):
                    break
    except ClusterLedgerError as error:
        _note(notices, news, Problem(error.message), now)
        log.warning("receiver cannot be told", receiver=receiver.name, error=error.message, hint=error.hint)
    return list(notices.values())


def _taken(
    context: Context,
    client: httpx2.Client,
    receiver: Receiver,
    news: Sequence[News],
    notices: dict[tuple[Any, ...], Notice],
) -> bool:
    """Tell a receiver some news, and keep how that went; return whether to tell it more.

    What it refuses for its size or its content is told in halves: what it does not take costs no other its turn.
    """
    now = context.now()
    problem = posted(client, call_of(receiver, news, now, context.settings.hub.url), now)
    is_refused = problem is not None and problem.is_of_content
    if is_refused and len(news) > 1:
        half = len(news) // 2
        return all(_taken(context, client, receiver, part, notices) for part in (news[:half], news[half:]))
    _note(notices, news, problem, now)
    if problem is not None:
        log.warning("receiver did not take news", receiver=receiver.name, error=problem.message)
    return problem is None or is_refused


def _news(receiver: Receiver, known: Sequence[Known], now: datetime) -> list[News]:
    """Return what a receiver is told now, oldest first; an Alertmanager forgets what nobody renews."""
    news: list[News] = []
    for each in sorted(known, key=lambda each: (each.notice["pending_from"] or now, *key_of(each.notice))):
        renewed = ("opened",) if receiver.kind == "alertmanager" and each.notice["told"] == "opened" else ()
        incident = each.incident or _gone(each.notice)
        news += [News(_ending(each.notice, incident, event), incident, event) for event in events_of(each) or renewed]
    return news


def _ending(notice: Notice, incident: Mapping[str, Any], event: str) -> Notice:
    return {**notice, "closed_at": notice["closed_at"] or incident["closed_at"]} if event == "closed" else notice


def _gone(notice: Notice) -> dict[str, Any]:
    """Return what is known of an incident that is none any more."""
    unknown = dict.fromkeys(_CLOSED_FIELDS)
    length = (notice["closed_at"] or notice["opened_at"]) - notice["opened_at"]
    known = {name: notice[name] for name in (*INCIDENT, "job_id", "user", "closed_at")}
    team = notice["team"] or ""
    return {**unknown, **known, "idle_seconds": length.total_seconds(), "state": "", "team": team, "status": "closed"}


def _note(notices: dict[tuple[Any, ...], Notice], news: Iterable[News], problem: Problem | None, now: datetime) -> None:
    """Keep in the notices how a call went; what only renewed an alert is no news."""
    for each in news:
        key = key_of(each.notice)
        if not each.notice["pending"]:
            continue
        if problem is None:
            notices[key] = after_success({**notices[key], "closed_at": each.notice["closed_at"]}, each.event, now)
            continue
        attempts = each.notice["attempt_count"]
        not_before = now + wait_after(attempts, problem.asked_seconds)
        notices[key] = after_failure(
            notices[key], attempts, problem.message, not_before, is_refused=problem.is_of_content
        )
