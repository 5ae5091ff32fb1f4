"""What a receiver is to be told of idle incidents: each once when it opens, once when it is over, whatever restarts."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from ledger.sections import Receiver

Incident = Mapping[str, Any]
"""A row of `idle_incident` as it stands now, with `status_while_lasting`: its status if it had not ended."""

Notice = dict[str, Any]
"""A row of `incident_notice`."""

_MISSED: Final = timedelta(days=1)
"""What opened and ended while no hub ran is told afterwards, unless it is older news than this."""

_FORGOTTEN: Final = timedelta(days=100)
"""Longer than incidents are kept: by then no row could ask for it again."""

_KEY: Final = ("cluster", "node", "gpu_uuid", "opened_at")


def key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what names one incident."""
    return tuple(row[name] for name in _KEY)


class Known(NamedTuple):
    """What a receiver knows of an incident, and the incident as it is now; None if it is none any more."""

    notice: Notice
    incident: Incident | None


def told_next(
    incidents: Iterable[Incident], notices: Iterable[Notice], receiver: Receiver, now: datetime
) -> list[Known]:
    """Return a receiver's notices with what is to be told now marked as pending.

    An incident whose start moved, because samples came late, is the one that it was. What was acknowledged, snoozed or
    exempt from the first is not told. An exemption ends an incident for who was told of it.
    """
    mine = [each for each in notices if each["receiver"] == receiver.name]
    kept = {key_of(each): each for each in mine if each["gpu_uuid"]}
    since = next((each["opened_at"] for each in mine if not each["gpu_uuid"]), now)
    wanted = {key_of(each): each for each in incidents if _concerns(each, receiver)}
    found: dict[tuple[Any, ...], Known] = {}
    for key in sorted(wanted):
        incident = wanted[key]
        known = kept.get(key) or _moved(incident, (each for old, each in kept.items() if old not in wanted), now)
        notice = _first(incident, receiver, since, now) if known is None else _next(incident, known, now)
        found[key_of(notice)] = Known(notice, incident)
    for key, notice in kept.items():
        if key not in found and not _is_old(notice, now):
            found[key] = Known(_vanished(notice, now), None)
    # It says since when the receiver is told anything: a new one is not told the past.
    marker = {**_blank(receiver, dict(zip(_KEY, ("", "", "", since), strict=True))), "job_id": ""}
    return [Known(marker, None), *found.values()]


def _concerns(incident: Incident, receiver: Receiver) -> bool:
    is_long = float(incident["idle_seconds"] or 0) >= receiver.least_minutes * 60
    return is_long and (not receiver.team or incident["team"] == receiver.team)


def _blank(receiver: Receiver, key: Mapping[str, Any]) -> Notice:
    return {
        **key,
        "receiver": receiver.name,
        "user": None,
        "team": None,
        "turn_count": 0,
        "told": "",
        "pending": "",
        "pending_from": None,
        "closed_at": None,
        "attempt_count": 0,
        "next_attempt_at": None,
        "is_refused": False,
        "told_at": None,
        "message": None,
    }


def _first(incident: Incident, receiver: Receiver, since: datetime, now: datetime) -> Notice:
    """Return the notice of an incident that the receiver knows nothing of."""
    blank = _blank(receiver, {name: incident[name] for name in (*_KEY, "job_id")})
    closed_at = incident["closed_at"]
    is_missed = closed_at is not None and closed_at >= since and now - closed_at < _MISSED
    is_news = incident["status"] == "open" or (is_missed and incident["status_while_lasting"] == "open")
    return _opening(incident, blank, now) if is_news else blank


def _opening(incident: Incident, notice: Notice, now: datetime) -> Notice:
    whose = {name: incident[name] for name in ("user", "team")}
    return {**notice, **whose, "pending": "opened", "pending_from": now, "turn_count": notice["turn_count"] + 1}


def _closing(notice: Notice, closed_at: datetime, now: datetime) -> Notice:
    return {**notice, "pending": "closed", "pending_from": now, "closed_at": closed_at}


def _next(incident: Incident, notice: Notice, now: datetime) -> Notice:
    """Return the notice of an incident after what has become of it since."""
    lasts, is_open = incident["closed_at"] is None, incident["status"] == "open"
    told, pending = notice["told"], notice["pending"]
    if pending == "opened":
        # Somebody took care of it before the receiver could be reached.
        return notice if is_open or not lasts else _quiet(notice)
    if pending == "closed":
        return _quiet(notice) if is_open else notice
    if told == "opened" and (not lasts or incident["status"] == "exempt"):
        return _closing(notice, incident["closed_at"] or now, now)
    if told != "opened" and is_open:
        return _opening(incident, notice, now)
    return notice


def _quiet(notice: Notice) -> Notice:
    idle = {"pending": "", "pending_from": None, "attempt_count": 0, "next_attempt_at": None, "is_refused": False}
    return {**notice, **idle}


def _moved(incident: Incident, others: Iterable[Notice], now: datetime) -> Notice | None:
    """Return the notice of an incident that began at another instant when the receiver was told of it."""
    for notice in others:
        is_same = key_of(notice)[:3] == key_of(incident)[:3] and notice["job_id"] == incident["job_id"]
        if (
            is_same
            and notice["turn_count"]
            and notice["opened_at"] <= (incident["closed_at"] or now)
            and incident["opened_at"] <= (notice["closed_at"] or now)
        ):
            return notice
    return None


def _vanished(notice: Notice, now: datetime) -> Notice:
    """Return the notice of an incident that is none any more: what is known now says so."""
    if notice["told"] == "opened" and notice["pending"] != "closed":
        return _closing(notice, now, now)
    return _quiet(notice) if notice["pending"] == "opened" else notice


def _is_old(notice: Notice, now: datetime) -> bool:
    return not notice["pending"] and notice["told"] != "opened" and now - notice["opened_at"] > _FORGOTTEN


def events_of(known: Known) -> tuple[str, ...]:
    """Return what is to be told of an incident now; what ended before it could be told is told whole."""
    notice, incident = known
    if notice["pending"] == "opened" and incident is not None and incident["closed_at"] is not None:
        return ("opened", "closed")
    return (notice["pending"],) if notice["pending"] else ()


def after_success(notice: Notice, event: str, now: datetime) -> Notice:
    """Return a notice of whose event the receiver knows now."""
    return {**_quiet(notice), "told": event, "told_at": now, "message": None}


def after_failure(
    notice: Notice, before: int, message: str, not_before: datetime, *, is_refused: bool = False
) -> Notice:
    """Return a notice whose news the receiver did not take, after so many failures `before`.

    One that `is_refused` waits alone; otherwise it is the receiver that is away, and nothing is told meanwhile.
    """
    tried = {"attempt_count": before + 1, "next_attempt_at": not_before, "message": message}
    return {**notice, **tried, "is_refused": is_refused}
