"""Rows of a clock that is ahead, or far behind: refused at the door for agents, with a reason, beside good rows."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from app.api._clock import AHEAD, BEHIND, timely
from ledger.frames import to_frame
from ledger.store import Joint, Sender
from ledger.tables import HostSample, Node, RejectedRow

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SENDERS = [Sender("1", "m", "agent m"), Sender("2", "n", "agent n")]


def sample(at: datetime, *, is_wire: bool) -> dict[str, object]:
    """Return a sample as an agent sends it, or as a row of the table."""
    said: object = int(at.timestamp() * 1000) if is_wire else at
    return {"cluster": "c", "node": "n", "boot_id": "b", "sampled_at": said, "step_seconds": 10.0}


@pytest.mark.parametrize("is_wire", [False, True])
def test_rows_beyond_the_tolerance_are_refused_and_the_others_stay(is_wire: bool) -> None:
    moments = [NOW - timedelta(days=3), NOW, NOW + AHEAD, NOW + AHEAD + timedelta(seconds=1)]
    frame = to_frame(HostSample, [sample(at, is_wire=is_wire) for at in moments])
    (kept, refused_rows), counts = timely([Joint(HostSample, frame, [(0, 1), (1, 3)])], SENDERS, NOW)
    assert counts == {(1, "host_sample"): 1}
    assert kept.frame.equals(frame.head(3))
    assert (kept.parts, refused_rows.parts) == ([(0, 1), (1, 2)], [(1, 1)])
    (refused,) = RejectedRow.validate(refused_rows.frame).to_dicts()
    assert (refused["table_name"], refused["source"], refused["rejected_at"]) == ("host_sample", "agent n", NOW)
    assert refused["reason"].startswith(
        "sampled_at: found 2026-11-20 12:05:01+00:00, which is ahead of the hub's clock"
    )
    assert json.loads(refused["row_json"])["sampled_at"] == "2026-11-20 12:05:01+00:00"


def test_rows_of_a_clock_that_starts_at_1970_are_refused_and_late_ones_are_not() -> None:
    moments = [datetime(1970, 1, 1, tzinfo=UTC), NOW - BEHIND - timedelta(seconds=1), NOW - BEHIND, NOW]
    frame = to_frame(HostSample, [sample(at, is_wire=True) for at in moments])
    (kept, refused_rows), counts = timely([Joint(HostSample, frame, [(1, 4)])], SENDERS, NOW)
    assert counts == {(1, "host_sample"): 2}
    assert kept.frame.equals(frame.tail(2))
    assert refused_rows.frame["reason"][0] == (
        "sampled_at: found 1970-01-01 00:00:00+00:00, which is far behind the hub's clock (2026-11-20 12:00:00+0000), "
        "expected at most 366 days; set the node's clock"
    )


def test_what_tells_of_a_stay_may_lie_ahead() -> None:
    frame = to_frame(Node, [{"cluster": "c", "node": "n", "exists_start": NOW + timedelta(days=1)}])
    joint = Joint(Node, frame, [(1, 1)])
    assert timely([joint], SENDERS, NOW) == ([joint], {})


def test_what_is_no_instant_is_left_to_the_door() -> None:
    frame = to_frame(HostSample, [{**sample(NOW, is_wire=False), "sampled_at": "soon"}])
    joint = Joint(HostSample, frame, [(1, 1)])
    assert timely([joint], SENDERS, NOW) == ([joint], {})
