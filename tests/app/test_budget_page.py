"""The page of budgets: what breaks is said first, a decision is kept, a team sees its own."""

from dataclasses import replace

from app.context import Context
from app.data import Scope
from ledger.tables import BudgetDecision
from tests.app.conftest import used
from tests.app.opening import opened, said


def test_budgets_open_with_what_breaks_and_who_must_act(demo_copy: Context) -> None:
    from app.services import named  # noqa: PLC0415  as a person would decide

    service = named("budgets")
    service.run(
        demo_copy,
        service.asked({"action": "set", "scope": "team:vision", "currency": "EUR", "amount": "1", "owner": "ann"}),
    )
    with used(demo_copy):
        test = opened("budget")
    (alert,) = test.error
    assert "broken or will break this month" in alert.value
    assert "Team vision has spent" in alert.value
    assert "Must act: ann." in alert.value
    assert "team:vision" in said(test)
    assert any("Running total" in each.value or "running total" in each.value for each in test.markdown)


def test_a_budget_is_set_on_the_page(demo_copy: Context) -> None:
    with used(demo_copy):
        test = opened("budget")
        fields = {each.label: each for each in test.text_input}
        fields["Scope"].set_value("team:vision")
        fields["Currency"].set_value("EUR")
        fields["Amount a month"].set_value("12.5")
        fields["Tell at, per cent"].set_value("50, 90")
        next(each for each in test.button if "Decide" in each.label).click()
        test.run()
        assert not test.exception
    (row,) = demo_copy.store.read(BudgetDecision).to_dicts()
    assert (row["scope"], row["billing_currency"], str(row["budget_cost"])[:4], row["thresholds"]) == (
        "team:vision",
        "EUR",
        "12.5",
        "0.5,0.9",
    )


def test_what_does_not_fit_is_said(demo_copy: Context) -> None:
    with used(demo_copy):
        test = opened("budget")
        fields = {each.label: each for each in test.text_input}
        fields["Scope"].set_value("everything")
        fields["Currency"].set_value("EUR")
        fields["Amount a month"].set_value("12.5")
        next(each for each in test.button if "Decide" in each.label).click()
        test.run()
    assert any("scope" in each.value for each in test.error)
    assert demo_copy.store.read(BudgetDecision).is_empty()


def test_a_team_sees_its_own_budgets_and_decides_none(demo_context: Context) -> None:
    vision = replace(demo_context, viewer=lambda: Scope("team", "vision", ("vision",)), _store=demo_context.store)
    with used(vision):
        test = opened("budget", team="language")
    scopes = {scope for each in test.dataframe if "scope" in each.value.columns for scope in each.value["scope"]}
    assert scopes == {"team:vision"}
    assert not test.text_input


def test_without_a_budget_the_page_says_how_to_set_one(empty_context: Context) -> None:
    with used(empty_context):
        test = opened("budget")
    assert "No budget is in force" in test.info[0].value
