"""What the rounds of a node's collectors came to."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

Spans = Callable[..., Any]
Minutes = Callable[[float], datetime]


def test_rounds_that_a_row_adds_up_are_each_counted(ledger: Any, hours: Spans, minute: Minutes) -> None:
    """Agents of before tell each round: a row without a count is one, and its time that of the longest."""
    told = [(False, None, 0.5, None), (False, None, 0.25, None), (False, 6, 1.5, 0.75), (True, 6, 1.0, 0.25)]
    rounds = [
        {
            "cluster": "c",
            "node": "n",
            "collector": "nvml",
            "row_count": 8,
            "sampled_at": minute(place),
            "is_ok": is_ok,
            "round_count": count,
            "duration_seconds": took,
            "longest_round_seconds": longest,
        }
        for place, (is_ok, count, took, longest) in enumerate(told)
    ]
    mine = ledger()
    mine.add("collector_run", rounds)
    row = mine.compute("agent_hour", hours(1)).row(0, named=True)
    assert (row["round_count"], row["failed_round_count"], row["row_count"]) == (14, 8, 32)
    assert (row["duration_seconds"], row["longest_round_seconds"]) == (pytest.approx(3.25), 0.75)


def test_a_node_has_a_row_for_each_hour_in_which_a_collector_told_of_itself(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    row = {"cluster": "c", "collector": "nvml", "row_count": 8, "is_ok": True, "duration_seconds": 0.5}
    places = [("n", 0), ("n", 59), ("n", 60), ("m", 121)]
    mine = ledger()
    mine.add("collector_run", [{**row, "node": node, "sampled_at": minute(at)} for node, at in places])
    rows = mine.compute("agent_hour", hours(3)).sort("node", "hour_start")
    assert rows.select("node", "hour_start", "round_count").rows() == [
        ("m", minute(120), 1),
        ("n", minute(0), 2),
        ("n", minute(60), 1),
    ]
