"""The rules of the Cost page: named, switchable, and without effect on totals."""

import pytest
from streamlit.testing.v1 import AppTest

from app.context import Context
from tests.app.conftest import used
from tests.app.opening import metrics, opened, said


def test_shared_cost_is_switched_to_teams_and_totals_stay(demo_context: Context) -> None:
    with used(demo_context):
        stored = opened("cost", query={"window": "30d"})
        even = opened("cost", query={"window": "30d", "shared": "even"})
    assert "shared cost: `apart`" in said(stored)
    assert "shared cost: `even`" in said(even)
    totals = [
        {name: value for name, (value, _) in metrics(each).items() if "cost, " in name} for each in (stored, even)
    ]
    assert totals[0] == totals[1]
    assert totals[0]
    teams = [set(each.dataframe[0].value["name"]) for each in (stored, even)]
    assert "shared" in teams[0]
    assert len(teams[1]) >= len(teams[0]) - 1
    options = next(each for each in stored.selectbox if each.label == "Shared cost").options
    assert options == ["apart", "proportional", "even", "direct"]


def _totals(test: AppTest) -> dict[str, str]:
    return {name: value for name, (value, _) in metrics(test).items() if "cost, " in name}


@pytest.mark.parametrize("rule", ["cluster", "proportional", "even"])
@pytest.mark.parametrize("by", ["team", "model"])
def test_idle_time_is_borne_by_others_and_totals_stay(demo_context: Context, rule: str, by: str) -> None:
    with used(demo_context):
        stored = opened("cost", query={"window": "30d", "by": by})
        moved = opened("cost", query={"window": "30d", "by": by, "idle": rule})
    assert _totals(stored) == _totals(moved) != {}
    before, after = (each.dataframe[0].value.set_index("name") for each in (stored, moved))
    assert set(before.index) == set(after.index)
    for name, row in after.iterrows():
        assert float(row["own"]) == pytest.approx(float(before["cost"][name]))
    idle = after["borne"]["idle"]
    assert idle > 0 if rule == "cluster" else idle < 0
    assert float(sum(after["borne"].dropna())) == pytest.approx(0)


def test_another_split_and_idle_time_spread_go_together(demo_context: Context) -> None:
    with used(demo_context):
        stored = opened("cost", query={"window": "30d"})
        both = opened("cost", query={"window": "30d", "split": "70_30", "idle": "even", "shared": "direct"})
    assert _totals(stored) == _totals(both)
    assert "Idle time is borne by teams, evenly." in said(both)
