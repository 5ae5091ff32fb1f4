"""How receivers are told: our own JSON, a text for a chat, or the alerts of an Alertmanager."""

import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from app import format as written
from app.money_news import MoneyNews
from app.notices import Incident, Notice, key_of
from ledger.money import add
from ledger.money import written as amount
from ledger.sections import Receiver

_VERSION: Final = 1
_HOLDS: Final = timedelta(hours=1)
"""For how long an Alertmanager keeps an alert that nobody renews: a hub that is down this long has other alarms."""

_QUIET: Final = frozenset({"acknowledged", "snoozed"})
_NODES_SHOWN: Final = 4


@dataclass(frozen=True)
class News:
    """One thing to tell: what happened to which incident."""

    notice: Notice
    incident: Incident
    event: str

    @property
    def event_id(self) -> str:
        """Return an id that is the same in each try, so that a receiver can drop what it has."""
        words = (self.notice["receiver"], *map(str, key_of(self.notice)), str(self.notice["turn_count"]), self.event)
        return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Call:
    """One POST: where, what, and with which headers."""

    url: str
    body: bytes
    headers: Mapping[str, str]


def call_of(receiver: Receiver, news: Sequence[News], now: datetime, hub_url: str) -> Call:
    """Return the call that tells a receiver some news of incidents."""
    link = _link(hub_url, "idle-incidents")
    return _posting(
        receiver,
        now,
        events=lambda: [_event(each, link) for each in news],
        text=lambda: _text(news, link),
        alerts=lambda: [_alert(each, now, link) for each in news],
    )


def money_call(receiver: Receiver, news: Sequence[MoneyNews], now: datetime, hub_url: str) -> Call:
    """Return the call that tells a receiver some news of budgets and unusual days."""
    links = [_link(hub_url, each.page) for each in news]
    return _posting(
        receiver,
        now,
        events=lambda: [_money_event(receiver, each, link) for each, link in zip(news, links, strict=True)],
        text=lambda: "\n".join([*(_escaped(each.text) for each in news), *dict.fromkeys(filter(None, links))]),
        alerts=lambda: [_money_alert(each, link) for each, link in zip(news, links, strict=True)],
    )


def _link(hub_url: str, page: str) -> str:
    return f"{hub_url.rstrip('/')}/{page}" if hub_url else ""


def _posting(
    receiver: Receiver,
    now: datetime,
    *,
    events: Callable[[], list[dict[str, Any]]],
    text: Callable[[], str],
    alerts: Callable[[], list[dict[str, Any]]],
) -> Call:
    """Return a call in the form that the receiver understands."""
    secret = receiver.secret.get_secret_value() if receiver.secret else ""
    headers = {"Content-Type": "application/json", "User-Agent": "clusterledger"}
    if receiver.kind == "webhook":
        body = _encoded({"version": _VERSION, "sent_at": _stamp(now), "events": events()})
        return Call(receiver.url, body, {**headers, **(_signed(secret, body, now) if secret else {})})
    if secret:
        headers["Authorization"] = f"Bearer {secret}"
    if receiver.kind == "slack":
        return Call(receiver.url, _encoded({"text": text()}), headers)
    return Call(f"{receiver.url.rstrip('/')}/api/v2/alerts", _encoded(alerts()), headers)


def _money_event(receiver: Receiver, each: MoneyNews, link: str) -> dict[str, Any]:
    """Return one event of a webhook; numbers are exact, as text."""
    event_id = hashlib.sha256("\0".join((receiver.name, each.event_ids[0])).encode()).hexdigest()[:32]
    return {"id": event_id, **each.facts, "text": each.text, "url": link or None}


def _money_alert(each: MoneyNews, link: str) -> dict[str, Any]:
    """Return one alert; it ends by itself, so that nobody has to renew it."""
    labels = {**each.labels, "severity": "warning", **({"team": each.team} if each.team else {})}
    return {
        "labels": labels,
        "annotations": {"summary": each.text},
        "startsAt": _stamp(each.starts_at),
        "endsAt": _stamp(each.ends_at),
        **({"generatorURL": link} if link else {}),
    }


def _encoded(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _signed(secret: str, body: bytes, now: datetime) -> dict[str, str]:
    """Return the headers by which a receiver knows that a call is ours, and of now."""
    at = str(int(now.timestamp()))
    digest = hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-Clusterledger-Timestamp": at, "X-Clusterledger-Signature": f"sha256={digest}"}


def _event(news: News, link: str) -> dict[str, Any]:
    """Return one event of a webhook; numbers are exact, as text."""
    row, closed_at = news.incident, news.notice["closed_at"]
    names = ("cluster", "node", "gpu_uuid", "job_id", "job_name", "user", "team", "model", "state", "billing_currency")
    cost = row["effective_cost"]
    return {
        "id": news.event_id,
        "event": news.event,
        **{name: row[name] for name in names},
        "idle_seconds": str(row["idle_seconds"]),
        "effective_cost": None if cost is None else amount(cost),
        "is_estimated": row["is_estimated"],
        "opened_at": _stamp(news.notice["opened_at"]),
        "closed_at": _stamp(closed_at) if news.event == "closed" and closed_at else None,
        "status": row["status"],
        "url": link or None,
    }


def _text(news: Sequence[News], link: str) -> str:
    """Return one line for each job and what happened to its devices."""
    groups: dict[tuple[str, str, str], list[News]] = defaultdict(list)
    for each in news:
        groups[each.event, each.incident["cluster"], each.incident["job_id"]].append(each)
    lines = [_line(event, of) for (event, _, _), of in groups.items()]
    return "\n".join([*lines, *([link] if link else [])])


def _line(event: str, news: Sequence[News]) -> str:
    rows = [each.incident for each in news]
    first, count = rows[0], len(rows)
    nodes = sorted({row["node"] for row in rows})
    shown = ", ".join(nodes[:_NODES_SHOWN]) + (f" and {len(nodes) - _NODES_SHOWN} more" if nodes[_NODES_SHOWN:] else "")
    longest = written.duration(max(row["idle_seconds"] for row in rows))
    name = f" ({first['job_name']})" if first["job_name"] else ""
    devices = f"{count} GPUs" if count > 1 else "1 GPU"
    job = f"job {first['job_id']}{name}" if first["job_id"] else "no known job"
    happened = f"idle for {longest}" if event == "opened" else f"no longer idle, after {longest}"
    who = f"{first['user'] or 'unknown user'}, team {first['team']}"
    return _escaped(f"{devices} of {job}: {happened}. {who}, on {shown}{_cost(rows)}")


def _cost(rows: Sequence[Incident]) -> str:
    amounts: dict[str, list[Decimal]] = defaultdict(list)
    for row in rows:
        if row["effective_cost"] is not None and row["billing_currency"]:
            amounts[row["billing_currency"]].append(row["effective_cost"])
    return "".join(f", {written.money(add(*found), code)}" for code, found in sorted(amounts.items()))


def _escaped(text: str) -> str:
    """Return a text in which a chat finds no markup: names are what their owners chose."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _alert(news: News, now: datetime, link: str) -> dict[str, Any]:
    """Return one alert: its labels name the incident and stay, so that an Alertmanager knows it again.

    While somebody takes care of it, or it is snoozed, it does not fire; if it lasts longer than that, it does again.
    """
    row = news.incident
    labels = {"alertname": "ClusterledgerIdleGpu", "severity": "warning"}
    # Whose it is may become known, or be corrected, while it lasts: that is no other alert.
    whose = row if news.notice["team"] is None else news.notice
    values = {name: row[name] for name in ("cluster", "node", "gpu_uuid", "job_id")}
    values |= {name: whose[name] for name in ("user", "team")}
    labels |= {name: str(value or "") for name, value in values.items()}
    ends_at = min(news.notice["closed_at"] or now, now)
    if news.event == "opened":
        ends_at = now if row["status"] in _QUIET else now + _HOLDS
    return {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {
            "summary": _line("opened", [news]),
            "status": row["status"],
            "job_name": row["job_name"] or "",
            "model": row["model"] or "",
        },
        "startsAt": _stamp(news.notice["opened_at"]),
        "endsAt": _stamp(ends_at),
        **({"generatorURL": link} if link else {}),
    }
