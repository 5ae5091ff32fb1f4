"""Receivers are told of idle incidents: once when one opens, once when it is over, whatever happens in between."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import jobs
from app.notices import Known, after_failure, after_success, events_of, key_of, told_next
from ledger.config import Settings
from ledger.frames import to_frame
from ledger.sections import Receiver as Wanted
from ledger.tables import GpuHour, IncidentNotice
from tests.app.incidents import MINUTE, NOW, Estate
from tests.app.receiver import Receiver, receiving

SINCE = NOW - 40 * MINUTE


def test_an_incident_is_told_once_when_it_opens_and_once_at_its_end(estate: Estate, receiver: Receiver) -> None:
    assert estate.passes() == "0 told, 0 waiting"
    estate.idles("G1", since=SINCE)
    assert estate.passes() == "1 told, 0 waiting"
    estate.again()
    estate.passes(3)
    estate.ends("G1", since=SINCE)
    estate.again()
    estate.passes(3)
    assert receiver.events() == [("opened", "G1"), ("closed", "G1")]
    opened, closed = (document["events"][0] for document in receiver.documents())
    assert opened["id"] != closed["id"]
    assert (opened["job_id"], opened["user"], opened["team"], opened["node"]) == ("4711", "ann", "vision", "gpu-07")
    assert (opened["effective_cost"], opened["idle_seconds"]) == ("12.345678901234567891", "2400.000")
    assert (opened["opened_at"], opened["closed_at"]) == ("2026-11-20T11:20:00.000Z", None)
    assert opened["url"] == "https://ledger.example.org/idle-incidents"
    assert datetime.fromisoformat(closed["closed_at"]) == NOW + 5 * MINUTE


def test_a_receiver_that_fails_twice_is_told_a_little_later(estate: Estate, receiver: Receiver) -> None:
    receiver.failures = 2
    estate.idles("G1", since=SINCE)
    assert estate.passes(minutes=0.1) == "0 told, 1 waiting"
    (notice,) = estate.notices()
    assert (notice["attempt_count"], notice["message"]) == (1, "HTTP 503: not now")
    estate.again()
    assert estate.passes(minutes=0.1) == "0 told, 1 waiting"
    assert receiver.calls == 1, "it is left alone for a while"
    estate.idles("G2", since=SINCE)
    assert estate.passes() == "0 told, 2 waiting"
    assert receiver.calls == 2
    estate.passes(minutes=2)
    assert receiver.events() == [("opened", "G1"), ("opened", "G2")]
    assert receiver.calls == 3
    assert {each["attempt_count"] for each in estate.notices()} == {0}
    assert estate.passes(3) == "0 told, 0 waiting"
    assert receiver.calls == 3


def test_a_receiver_that_is_away_for_hours_gets_all_in_order(tmp_path: Path) -> None:
    with receiving() as first:
        port = int(first.url.rsplit(":", 1)[1].partition("/")[0])
    estate = Estate(tmp_path / "ledger.duckdb", Wanted(name="oncall", url=first.url))
    estate.idles("G1", since=SINCE)
    assert estate.passes(minutes=1) == "0 told, 1 waiting"
    estate.ends("G1", since=SINCE)
    estate.passes(20, minutes=10)
    waits = estate.notices()[0]["next_attempt_at"] - estate.now
    assert waits <= timedelta(hours=1)
    assert "ConnectError" in estate.notices()[0]["message"]
    with receiving(port) as back:
        estate.passes(12, minutes=10)
        assert back.events() == [("opened", "G1"), ("closed", "G1")]
    estate.context.close()


def test_a_receiver_says_how_long_to_wait(estate: Estate, receiver: Receiver) -> None:
    receiver.failures, receiver.status, receiver.headers = 1, 429, {"Retry-After": "600"}
    estate.idles("G1", since=SINCE)
    estate.passes(5)
    assert receiver.calls == 1
    estate.passes(minutes=10)
    assert receiver.calls == 2


def test_the_same_news_has_the_same_id_in_each_try(estate: Estate, receiver: Receiver) -> None:
    estate.idles("G1", since=SINCE)
    estate.passes()
    first = receiver.documents()[0]["events"][0]["id"]
    # A hub that was killed after the call and before it could note it: the receiver drops what it has by its id.
    again = [{**each, "told": "", "pending": "opened", "told_at": None} for each in estate.notices()]
    estate.context.store.append(IncidentNotice, to_frame(IncidentNotice, again), source="test")
    estate.passes()
    assert [document["events"][0]["id"] for document in receiver.documents()] == [first, first]


@pytest.mark.parametrize("decision", ["acknowledged", "snoozed"])
def test_what_somebody_cares_for_is_not_told(estate: Estate, receiver: Receiver, decision: str) -> None:
    estate.idles("G1", since=SINCE)
    estate.decide(gpu_uuid="G1", decision=decision, snoozed_until=NOW + 90 * MINUTE)
    estate.passes(3)
    assert receiver.calls == 0
    estate.ends("G1", since=SINCE)
    estate.passes(3)
    assert receiver.calls == 0, "nobody was told of its beginning"


def test_a_snooze_that_ends_lets_it_be_told(estate: Estate, receiver: Receiver) -> None:
    estate.idles("G1", since=SINCE)
    estate.decide(gpu_uuid="G1", decision="snoozed", snoozed_until=NOW + 30 * MINUTE)
    estate.passes(2, minutes=10)
    assert receiver.calls == 0
    estate.passes(minutes=20)
    assert receiver.events() == [("opened", "G1")]


def test_an_exemption_ends_it_for_the_receiver_and_changes_no_second(estate: Estate, receiver: Receiver) -> None:
    estate.idles("G1", since=SINCE)
    estate.idles("G2", since=SINCE, user="bob")
    estate.passes()
    before = estate.context.store.read(GpuHour)
    made = estate.decide(
        "exemptions", action="create", user="ann", reason="a demo is kept warm", ends_at=NOW + 600 * MINUTE
    )
    estate.passes(2)
    assert receiver.events() == [("opened", "G1"), ("opened", "G2"), ("closed", "G1")]
    assert receiver.documents()[-1]["events"][0]["status"] == "exempt"
    assert estate.context.store.read(GpuHour).equals(before)
    estate.decide("exemptions", action="withdraw", exemption_id=made[0]["exemption_id"])
    estate.passes(2)
    assert receiver.events()[3:] == [("opened", "G1")], "it idles still, and nothing exempts it any more"
    estate.idles("G3", since=SINCE, user="ann")


def test_a_new_receiver_is_told_what_lasts_and_not_the_past(receiver: Receiver, tmp_path: Path) -> None:
    estate = Estate(tmp_path / "ledger.duckdb")
    estate.idles("G1", since=SINCE)
    estate.ends("G1", since=SINCE, at=NOW - 5 * MINUTE)
    estate.idles("G2", since=SINCE)
    estate.receivers = (Wanted(name="oncall", url=receiver.url),)
    estate.again()
    estate.passes(3)
    assert receiver.events() == [("opened", "G2")]
    estate.context.close()


def test_what_opened_and_ended_while_the_hub_was_down_is_told(estate: Estate, receiver: Receiver) -> None:
    estate.passes()
    estate.now += 60 * MINUTE
    estate.idles("G1", since=NOW + 10 * MINUTE)
    estate.ends("G1", since=NOW + 10 * MINUTE, at=NOW + 50 * MINUTE)
    estate.passes(3)
    assert receiver.events() == [("opened", "G1"), ("closed", "G1")]


def test_late_samples_that_move_the_start_make_no_second_incident(estate: Estate, receiver: Receiver) -> None:
    estate.idles("G1", since=SINCE)
    estate.passes()
    for earlier in (SINCE - 20 * MINUTE, SINCE + 15 * MINUTE):
        estate.rows.clear()
        estate.idles("G1", since=earlier)
        estate.passes(2)
    assert receiver.events() == [("opened", "G1")]
    estate.ends("G1", since=SINCE + 15 * MINUTE)
    estate.passes(3)
    assert receiver.events() == [("opened", "G1"), ("closed", "G1")]
    assert len({document["events"][0]["opened_at"] for document in receiver.documents()}) == 1


def test_what_turns_out_to_be_none_is_over(estate: Estate, receiver: Receiver) -> None:
    estate.idles("G1", since=SINCE)
    estate.passes()
    estate.vanishes("G1", since=SINCE)
    estate.passes(3)
    assert receiver.events() == [("opened", "G1"), ("closed", "G1")]
    closed = receiver.documents()[1]["events"][0]
    assert (closed["user"], closed["team"]) == ("ann", "vision"), "who was told of it is told of its end"


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_a_receiver_refuses_costs_no_other_its_turn(estate: Estate, receiver: Receiver, status: int) -> None:
    receiver.refuses, receiver.status = b'"G2"', status
    for gpu in ("G1", "G2", "G3", "G4", "G5"):
        estate.idles(gpu, since=SINCE)
    assert estate.passes() == "4 told, 1 waiting"
    assert sorted(receiver.events()) == [("opened", gpu) for gpu in ("G1", "G3", "G4", "G5")]
    (left,) = [each for each in estate.notices() if each["pending"]]
    assert (left["gpu_uuid"], left["message"]) == ("G2", f"HTTP {status}: not now")
    calls = receiver.calls
    estate.idles("G6", since=SINCE)
    estate.again()
    assert estate.passes(minutes=0.1) == "1 told, 1 waiting"
    assert receiver.calls == calls + 1, "it is not tried each time"
    receiver.refuses = b""
    assert estate.passes(minutes=60) == "1 told, 0 waiting"
    assert receiver.events()[-1] == ("opened", "G2")
    assert [each["is_refused"] for each in estate.notices()] == [False] * 6


def test_the_next_idleness_of_a_device_is_another_incident(estate: Estate, receiver: Receiver) -> None:
    estate.idles("G1", since=SINCE)
    estate.passes()
    estate.ends("G1", since=SINCE)
    estate.passes()
    estate.idles("G1", since=estate.now + MINUTE)
    estate.passes(2)
    assert [event for event, _ in receiver.events()] == ["opened", "closed", "opened"]


def test_an_outage_of_the_agent_closes_and_opens_again(estate: Estate, receiver: Receiver) -> None:
    estate.idles("G1", since=SINCE)
    estate.passes()
    estate.ends("G1", since=SINCE)
    estate.passes()
    estate.idles("G1", since=SINCE)
    estate.passes(2)
    assert [event for event, _ in receiver.events()] == ["opened", "closed", "opened"]
    assert len({document["events"][0]["id"] for document in receiver.documents()}) == 3


def test_a_receiver_hears_of_its_team_and_of_what_is_long_enough(receiver: Receiver, tmp_path: Path) -> None:
    wanted = Wanted(name="vision", url=receiver.url, team="vision", least_minutes=60)
    estate = Estate(tmp_path / "ledger.duckdb", wanted)
    estate.idles("G1", since=SINCE)
    estate.idles("G2", since=SINCE, idle_seconds=3600)
    estate.idles("G3", since=SINCE, idle_seconds=7200, team="language")
    estate.passes()
    assert receiver.events() == [("opened", "G2")]
    estate.context.close()


def test_the_job_runs_where_somebody_is_to_be_told(estate: Estate) -> None:
    assert jobs.every_notice(estate.context.settings, NOW) == NOW
    without = Settings(store=estate.context.settings.store)
    assert jobs.every_notice(without, NOW).year == 1970
    assert jobs.notify(estate.context, NOW) == "0 told, 0 waiting"


STEP = st.one_of(
    st.tuples(st.just("opens"), st.integers(0, 2)),
    st.tuples(st.just("ends"), st.integers(0, 2)),
    st.tuples(st.just("works"), st.booleans()),
)


@given(steps=st.lists(STEP, max_size=25))
def test_openings_and_ends_take_turns_and_nothing_is_left_out(steps: list[tuple[str, Any]]) -> None:
    """Whatever comes in which order while the receiver comes and goes: in the end it knows what is so."""
    wanted = Wanted(name="r", url="http://x")
    notices: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    last: dict[int, dict[str, Any]] = {}
    heard: list[tuple[str, int]] = []
    works, now = True, NOW
    for what, value in [*steps, ("works", True), ("works", True)]:
        now += 30 * MINUTE
        lasts = value in last and last[value]["closed_at"] is None
        if what == "opens" and not lasts:
            base = {"cluster": "c", "node": "n", "gpu_uuid": f"G{value}", "job_id": "1", "team": "t", "user": None}
            more = {"opened_at": now, "closed_at": None, "status": "open", "status_while_lasting": "open"}
            last[value] = {**base, **more, "idle_seconds": 4000}
            rows.append(last[value])
        elif what == "ends" and lasts:
            last[value] |= {"closed_at": now, "status": "closed"}
        elif what == "works":
            works = bool(value)
        for _ in range(2):
            known = told_next(rows, notices, wanted, now)
            known.sort(key=lambda each: each.notice["pending_from"] or now)
            notices = [_told(each, heard, works, now) for each in known]
    for value in range(3):
        mine = [event for event, which in heard if which == value]
        assert mine == ["opened", "closed"] * (len(mine) // 2) + ["opened"] * (len(mine) % 2)
        of_it = [each for each in rows if each["gpu_uuid"] == f"G{value}"]
        assert len(mine) == sum(1 if each["closed_at"] is None else 2 for each in of_it)


def _told(each: Known, heard: list[tuple[str, int]], works: bool, now: datetime) -> dict[str, Any]:
    notice = each.notice
    events = events_of(each)
    if events and not works:
        return after_failure(notice, notice["attempt_count"], "away", now + MINUTE)
    for event in events:
        heard.append((event, int(key_of(notice)[2][1:])))
        notice = after_success(notice, event, now)
    return notice
