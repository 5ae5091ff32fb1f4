"""The rules of the Cost page: named, switchable, and without effect on totals."""

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
    assert options == ["apart", "proportional", "even"]
