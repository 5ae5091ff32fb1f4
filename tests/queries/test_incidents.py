"""Where incidents stand at an instant: closed, exempt by a rule, decided, or open."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.frames import to_frame
from ledger.tables import IdleIncident, IncidentDecision, IncidentExemption
from queries.incidents import standing

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DEVICE = {"cluster": "c", "node": "gpu-07", "gpu_uuid": "G", "opened_at": NOW - HOUR}
INCIDENT = {
    **DEVICE,
    "state": "held_idle",
    "job_id": "7",
    "restart_count": 0,
    "job_name": "jupyter-lab",
    "model": "llama-3-70b",
    "user": "ann",
    "team": "vision",
    "idle_seconds": Decimal(3600),
    "status": "open",
}
RULE = {
    **dict.fromkeys(("cluster", "node", "user", "job", "model"), ""),
    "exemption_id": "r1",
    "reason": "kept warm",
    "starts_at": NOW - HOUR,
    "ends_at": NOW + HOUR,
    "made_by": "bob",
}
DECISION = {**DEVICE, "decision": "acknowledged", "decided_at": NOW - HOUR / 2, "decided_by": "eve", "comment": "seen"}


def stood(
    *,
    decisions: Sequence[dict[str, Any]] = (),
    rules: Sequence[dict[str, Any]] = (),
    **changed: Any,
) -> dict[str, Any]:
    found = standing(
        to_frame(IdleIncident, [{**INCIDENT, **changed}]),
        to_frame(IncidentDecision, list(decisions)),
        to_frame(IncidentExemption, list(rules)),
        NOW,
    )
    return found.row(0, named=True)


@pytest.mark.parametrize(
    ("patterns", "is_exempt"),
    [
        ({"node": "gpu-07"}, True),
        ({"node": "gpu-*"}, True),
        ({"node": "gpu-0"}, False),
        ({"user": "ann"}, True),
        ({"user": "ann", "node": "gpu-08"}, False),
        ({"job": "7"}, True),
        ({"job": "jupyter*"}, True),
        ({"job": "8"}, False),
        ({"model": "llama*"}, True),
        ({"model": "qwen"}, False),
        ({"cluster": "c", "user": "a*", "model": "llama-3-70b"}, True),
        ({"node": "gpu-07", "starts_at": NOW + HOUR / 2}, False),
        ({"node": "gpu-07", "starts_at": NOW - 2 * HOUR, "ends_at": NOW}, False),
        ({"node": "gpu-07", "withdrawn_at": NOW - HOUR / 4}, False),
    ],
)
def test_a_rule_exempts_what_fits_all_its_patterns_in_its_time(patterns: dict[str, Any], is_exempt: bool) -> None:
    row = stood(rules=[{**RULE, **patterns}])
    assert (row["status"] == "exempt") == is_exempt
    told = ("bob", "kept warm", NOW + HOUR, "r1") if is_exempt and "ends_at" not in patterns else (None,) * 4
    assert (row["decided_by"], row["comment"], row["snoozed_until"], row["exemption_id"]) == told
    assert row["idle_seconds"] == Decimal(3600), "an exempt second is still idle"


def test_what_is_not_known_fits_no_pattern() -> None:
    assert stood(rules=[{**RULE, "user": "a*"}], user=None)["status"] == "open"
    assert stood(rules=[{**RULE, "model": "*"}], model=None)["status"] == "open"


def test_a_rule_goes_before_a_decision_and_the_end_before_both() -> None:
    assert stood(decisions=[DECISION])["status"] == "acknowledged"
    assert stood(decisions=[DECISION], rules=[{**RULE, "user": "ann"}])["status"] == "exempt"
    assert stood(decisions=[DECISION], rules=[{**RULE, "user": "ann"}], closed_at=NOW)["status"] == "closed"


def test_a_snooze_ends_by_itself_and_a_decision_can_be_taken_back() -> None:
    snooze = {**DECISION, "decision": "snoozed", "snoozed_until": NOW + HOUR}
    row = stood(decisions=[snooze])
    assert (row["status"], row["snoozed_until"], row["decided_by"]) == ("snoozed", NOW + HOUR, "eve")
    over = stood(decisions=[{**snooze, "snoozed_until": NOW}])
    assert (over["status"], over["decided_by"], over["snoozed_until"]) == ("open", None, None)
    assert stood(decisions=[{**DECISION, "decision": "open"}])["status"] == "open"


def test_of_several_rules_the_one_that_lasts_longest_is_told() -> None:
    longer = {**RULE, "exemption_id": "r2", "ends_at": NOW + 5 * HOUR, "user": "ann"}
    assert stood(rules=[longer, {**RULE, "node": "gpu*"}])["exemption_id"] == "r2"


@given(
    rules=st.lists(
        st.fixed_dictionaries(
            {name: st.sampled_from(["", "*", "a", "a*", "b"]) for name in ("cluster", "node", "user", "job", "model")}
        ),
        max_size=4,
    ),
    seed=st.integers(0, 99),
)
def test_nothing_but_the_status_changes(rules: list[dict[str, str]], seed: int) -> None:
    places = [("a", "a", "b"), ("b", "a", None), ("ab", "b", "a")]
    rows = [
        {**INCIDENT, "cluster": cluster, "node": node, "user": user, "gpu_uuid": f"G{index}"}
        for index, (cluster, node, user) in enumerate(places)
    ]
    incidents = to_frame(IdleIncident, rows)
    made = [{**RULE, **rule, "exemption_id": str(index)} for index, rule in enumerate(rules)]
    args = (to_frame(IncidentDecision, []), to_frame(IncidentExemption, made), NOW)
    found = standing(incidents, *args)
    columns = [name for name in incidents.columns if name != "status"]
    assert found.select(columns).equals(incidents.select(columns))
    shuffled = standing(incidents.sample(fraction=1, shuffle=True, seed=seed), *args).sort("gpu_uuid")
    assert shuffled.equals(found.sort("gpu_uuid"))
    again = standing(found, *args)
    assert again.select(found.columns).equals(found), "the page does to a row what the rollup did to it before"
    assert pl.Series(found["status"]).is_in(["open", "exempt"]).all()
