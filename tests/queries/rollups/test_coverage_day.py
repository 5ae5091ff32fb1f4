"""Coverage: device time that samples cover, and for which the holder is known."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

Spans = Callable[..., Any]
Minutes = Callable[[float], datetime]

NODE = {"cluster": "c", "node": "n"}


def test_slices_count_as_parts_and_refused_rows_and_failed_rounds_are_counted(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    for uuid, parent, part in (("G", "", "1"), ("M", "P", "0.25")):
        mine.add(
            "gpu",
            [
                {
                    **NODE,
                    "gpu_uuid": uuid,
                    "exists_start": minute(-600),
                    "parent_gpu_uuid": parent,
                    "gpu_fraction": Decimal(part),
                }
            ],
        )
    seen = {"is_observed": True, "evidence_quality": "A", "holder_count": 1, "state": "productive", "job_id": "1"}
    blind = {"is_observed": False, "state": "unknown", "job_id": ""}
    mine.add(
        "gpu_state_interval",
        [
            {**NODE, "gpu_uuid": "G", "started_at": minute(0), "ended_at": minute(45), **seen},
            {**NODE, "gpu_uuid": "G", "started_at": minute(45), "ended_at": minute(60), **blind},
            {**NODE, "gpu_uuid": "M", "started_at": minute(0), "ended_at": minute(60), **blind, "holder_count": 0},
        ],
    )
    rounds = [
        {
            **NODE,
            "sampled_at": minute(at),
            "collector": "nvml",
            "is_ok": at > 1,
            "row_count": 0,
            "duration_seconds": 0.1,
        }
        for at in range(5)
    ]
    mine.add("collector_run", rounds)
    refused = {"table_name": "gpu_sample", "reason": "x", "row_json": "{}", "rejected_at": minute(3)}
    mine.add("rejected_row", [{**refused, "rejected_id": name, "source": name} for name in ("n", "agent n", "other")])
    row = mine.chain(hours(24, first=-5), "agent_hour", "coverage_day").row(0, named=True)
    assert row["gpu_existed_seconds"] == 3600 + 900
    assert row["gpu_observed_seconds"] == 2700
    assert row["gpu_held_known_seconds"] == 2700 + 900
    assert row["coverage_ratio"] == 2700 / 4500
    assert row["evidence_quality"] == "A"
    assert row["last_sampled_at"] == minute(45)
    assert (row["failed_run_count"], row["rejected_count"]) == (2, 2)


def test_failed_rounds_are_unknown_where_no_collector_told_of_itself(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    mine.add("gpu", [{**NODE, "gpu_uuid": "G", "exists_start": minute(-600), "gpu_fraction": Decimal(1)}])
    blind = {"is_observed": False, "state": "unknown", "job_id": ""}
    span = {"started_at": minute(0), "ended_at": minute(60)}
    mine.add("gpu_state_interval", [{**NODE, "gpu_uuid": "G", **span, **blind}])
    days = mine.chain(hours(24, first=-5), "agent_hour", "coverage_day")
    assert days["failed_run_count"].to_list() == [None]
