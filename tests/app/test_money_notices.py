"""Budgets and unusual days are told once: each threshold, the forecast, each day; to whom they concern."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app import jobs
from app.context import Context
from app.money_tell import tell_of_money
from app.services import named
from ledger.budget_rule import BudgetRule
from ledger.config import Settings
from ledger.frames import to_frame
from ledger.sections import HubSettings, StoreSettings
from ledger.sections import Receiver as Wanted
from ledger.tables import AnomalyDay, BudgetDecision, ForecastDay, MoneyNotice, SpendDay
from ledger.tables.partition import WHOLE
from tests.app.mail_server import running
from tests.app.receiver import Receiver
from tests.app.weekly_mail import READER, parsed, readied

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
MONTH = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class Money:
    """A hub's context with budgets, under a clock that a test moves."""

    def __init__(self, path: Path, *receivers: Wanted, budgets: tuple[BudgetRule, ...] = ()) -> None:
        self.now = NOW
        settings = Settings(
            store=StoreSettings(url=f"duckdb:{path}"),
            hub=HubSettings(url="https://ledger.example.org"),
            notify=receivers,
            budgets=budgets,
        )
        self.context = Context(settings, now=lambda: self.now)

    def spends(self, amount: str, day: int = 9, team: str = "vision") -> None:
        at = MONTH + (day - 1) * DAY
        row = {
            **dict.fromkeys(SpendDay.primary_key(), ""),
            "day": at.date(),
            "billing_currency": "USD",
            "billing_period_start": MONTH,
            "team": team,
            "submitted_at": at,
            "is_estimated": False,
            "in_scope": True,
            **dict.fromkeys(("billed_cost", "effective_cost", "productive_cost", "idle_cost"), Decimal(amount)),
            **dict.fromkeys(("held_gpu_seconds", "productive_gpu_seconds", "idle_gpu_seconds"), Decimal(0)),
            "first_hour_start": at,
            "last_hour_end": at + DAY,
        }
        frame = to_frame(SpendDay, [row])
        self.context.store.replace(SpendDay, frame, partitions=[f"{at:%Y-%m-%d}"])

    def expects(self, amount: str, scope: str = "team:vision") -> None:
        rows = [
            {
                "day": date(2026, 11, day),
                "scope": scope,
                "billing_currency": "USD",
                "made_on": date(2026, 11, 9),
                **dict.fromkeys(("forecast_cost", "lower_cost", "upper_cost"), Decimal(amount)),
                "interval_ratio": 0.8,
                "method": "seasonal_naive_7",
            }
            for day in range(11, 31)
        ]
        self.context.store.replace(ForecastDay, to_frame(ForecastDay, rows), partitions=[WHOLE])

    def unusual(self, *days: int, scope: str = "team:vision") -> None:
        for day in days:
            row = unusual_day(day, scope)
            self.context.store.replace(AnomalyDay, to_frame(AnomalyDay, [row]), partitions=[f"2026-11-{day:02}"])


def unusual_day(day: int, scope: str) -> dict[str, Any]:
    """Return a day on which a team cost three times as much as usual."""
    return {
        "day": date(2026, 11, day),
        "scope": scope,
        "billing_currency": "USD",
        "team": scope.partition(":")[2],
        "actual_cost": Decimal(1500),
        "expected_cost": Decimal(500),
        "spread_cost": Decimal(10),
        "difference_cost": Decimal(1000),
        "weekday_count": 8,
        "cause": "volume",
        "cause_provider": "AWS",
        "cause_resource": "p5-001",
        "cause_team": "vision",
        "cause_cost": Decimal(900),
    }


BUDGET = BudgetRule(scope="team:vision", currency="USD", amount=Decimal(1000), owner="ann@example.org")


@pytest.fixture
def money(receiver: Receiver, tmp_path: Path) -> Iterator[Money]:
    made = Money(tmp_path / "m.duckdb", Wanted(name="hook", url=receiver.url), budgets=(BUDGET,))
    yield made
    made.context.close()


def events(receiver: Receiver) -> list[dict[str, Any]]:
    return [event for document in receiver.documents() for event in document["events"]]


def test_each_threshold_is_told_once(money: Money, receiver: Receiver) -> None:
    money.spends("790")
    assert tell_of_money(money.context) == ""
    money.spends("800")
    assert tell_of_money(money.context) == "Of money: 1 told, 0 waiting"
    assert tell_of_money(money.context) == ""
    (event,) = events(receiver)
    assert (event["event"], event["scope"], event["threshold"], event["spent_cost"]) == (
        "budget",
        "team:vision",
        "0.8",
        "800",
    )
    assert "80%" in event["text"]
    money.spends("1200")
    tell_of_money(money.context)
    tell_of_money(money.context)
    assert [each["threshold"] for each in events(receiver)] == ["0.8", "1"]
    assert "ann@example.org" in events(receiver)[1]["text"]
    assert events(receiver)[1]["url"] == "https://ledger.example.org/budget"


def test_what_passes_all_thresholds_at_once_is_told_in_one_line(money: Money, receiver: Receiver) -> None:
    money.spends("5000")
    tell_of_money(money.context)
    assert [each["threshold"] for each in events(receiver)] == ["1"]
    told = set(money.context.store.read(MoneyNotice)["event_id"])
    base = "budget:team:vision:USD:2026-11:1000"
    assert told == {f"{base}:0.8", f"{base}:1", f"{base}:forecast"}


def test_a_budget_that_was_raised_has_thresholds_of_its_own(money: Money, receiver: Receiver) -> None:
    """Who was told of 1,000 is told of 5,000 as well, once; back at 1,000 there is nothing new."""
    decide = named("budgets")

    def raised(amount: str) -> str:
        about = {"action": "set", "scope": "team:vision", "currency": "USD", "amount": amount, "thresholds": [0.8, 1]}
        decide.run(money.context, decide.asked(about))
        return tell_of_money(money.context)

    money.spends("1100")
    tell_of_money(money.context)
    assert raised("5000") == ""
    money.spends("4100")
    assert tell_of_money(money.context) == "Of money: 1 told, 0 waiting"
    assert tell_of_money(money.context) == raised("1000") == raised("5000") == ""
    told = [(each["threshold"], each["budget_cost"]) for each in events(receiver)]
    assert told == [("1", "1000"), ("0.8", "5000")]


def test_a_budget_that_will_break_is_told_before_it_does(money: Money, receiver: Receiver) -> None:
    money.spends("400")
    money.expects("50")
    tell_of_money(money.context)
    (event,) = events(receiver)
    assert event["threshold"] == "forecast"
    assert event["breaks_on"] == "2026-11-23"
    assert event["expected_cost"] == "1400"
    assert "will break its budget of $1,000 on 23 November, by $400" in event["text"]
    money.now += DAY
    assert tell_of_money(money.context) == ""


def test_a_receiver_that_fails_is_told_later_and_once(money: Money, receiver: Receiver) -> None:
    receiver.failures = 1
    money.spends("800")
    assert tell_of_money(money.context) == "Of money: 0 told, 1 waiting"
    assert tell_of_money(money.context) == "Of money: 0 told, 1 waiting"
    assert receiver.calls == 1
    notice = money.context.store.read(MoneyNotice).row(0, named=True)
    assert (notice["attempt_count"], notice["told_at"]) == (1, None)
    assert "503" in notice["message"]
    money.now += timedelta(seconds=31)
    assert tell_of_money(money.context) == "Of money: 1 told, 0 waiting"
    assert tell_of_money(money.context) == ""
    assert len(events(receiver)) == 1


def test_an_unusual_day_is_told_once_and_what_goes_on_is_not_told_each_day(money: Money, receiver: Receiver) -> None:
    money.unusual(8)
    tell_of_money(money.context)
    tell_of_money(money.context)
    (event,) = events(receiver)
    assert (event["event"], event["day"], event["cause"], event["cause_resource"]) == (
        "anomaly",
        "2026-11-08",
        "volume",
        "p5-001",
    )
    assert event["text"] == (
        "Unusual day: Team vision cost $1,500 on 8 November, $1,000 more than on a usual Sunday ($500.00). "
        "Most of it: more GPU time of team vision on p5-001 (AWS), $900.00."
    )
    money.unusual(8, 9)
    assert tell_of_money(money.context) == ""


def test_an_old_day_is_no_news(money: Money) -> None:
    money.unusual(2)
    assert tell_of_money(money.context) == ""


def test_a_receiver_hears_of_its_team_and_of_what_it_wants(receiver: Receiver, tmp_path: Path) -> None:
    speech = Wanted(name="speech", url=receiver.url, team="speech")
    incidents = Wanted(name="incidents", url=receiver.url, about=("incidents",))
    made = Money(tmp_path / "m.duckdb", speech, incidents, budgets=(BUDGET,))
    made.spends("5000")
    made.unusual(8)
    assert tell_of_money(made.context) == ""
    assert jobs.notify(made.context, NOW) == "0 told, 0 waiting"
    made.context.close()
    assert receiver.calls == 0


@pytest.mark.parametrize("kind", ["slack", "alertmanager"])
def test_chats_and_alertmanagers_get_their_own_form(kind: Any, receiver: Receiver, tmp_path: Path) -> None:
    made = Money(tmp_path / "m.duckdb", Wanted(name="x", kind=kind, url=receiver.url), budgets=(BUDGET,))
    made.spends("5000")
    tell_of_money(made.context)
    made.context.close()
    (document,) = receiver.documents()
    if kind == "slack":
        assert document["text"].startswith(
            "Budget of November: Team vision has spent $5,000 of $1,000: broken on 9 November."
        )
        assert document["text"].endswith("https://ledger.example.org/budget")
    else:
        (alert,) = document
        assert alert["labels"] == {
            "alertname": "ClusterledgerBudget",
            "scope": "team:vision",
            "currency": "USD",
            "month": "2026-11",
            "threshold": "1",
            "severity": "warning",
            "team": "vision",
        }
        assert alert["endsAt"] == "2026-12-01T00:00:00.000Z"


def test_a_person_decides_from_a_month_on_and_ends_it(money: Money) -> None:
    service = named("budgets")

    def asked(**params: Any) -> Any:
        return service.run(money.context, service.asked(params))

    money.spends("500")
    assert [row["budget_cost"] for row in asked()] == [Decimal(1000)]
    decided = {"action": "set", "scope": "team:vision", "currency": "USD", "amount": "600.5", "thresholds": [0.5]}
    (row,) = asked(**decided, comment="less work")
    assert (row["budget_cost"], row["source"], row["thresholds"]) == (Decimal("600.5"), "page", "50%")
    assert asked(month="2026-12")[0]["budget_cost"] == Decimal("600.5")
    assert asked(month="2026-10")[0]["budget_cost"] == Decimal(1000)
    assert asked(action="end", scope="team:vision", currency="USD", month="2026-12") == []
    assert asked()[0]["budget_cost"] == Decimal("600.5")
    assert asked(month="2027-01") == []
    acts = money.context.store.select("SELECT action, subject, detail FROM audit ORDER BY occurred_at")
    assert [(action, subject) for action, subject, _ in acts.iter_rows()] == [
        ("budget set", "team:vision"),
        ("budget end", "team:vision"),
    ]
    assert "600.5 USD a month. less work" in acts["detail"][0]
    assert money.context.store.read(BudgetDecision).height == 2


@pytest.mark.parametrize("params", [{"action": "set", "scope": "team:x", "currency": "USD"}, {"action": "end"}])
def test_half_a_decision_is_refused(params: dict[str, Any], money: Money) -> None:
    service = named("budgets")
    with pytest.raises(Exception, match="budgets: "):
        service.run(money.context, service.asked(params))


def test_the_weekly_mail_says_which_budgets_break_and_which_days_were_unusual(
    demo_copy: Context, tmp_path: Path
) -> None:
    budgets, report = named("budgets"), named("report")
    decision = {"action": "set", "scope": "team:vision", "currency": "EUR", "amount": "1", "owner": "ann@example.org"}
    budgets.run(demo_copy, budgets.asked(decision))
    demo_copy.store.replace(
        AnomalyDay, to_frame(AnomalyDay, [unusual_day(10, "team:vision")]), partitions=["2026-11-10"]
    )
    done = report.run(demo_copy, report.asked({"week": "2026-W46", "out": tmp_path}))
    for suffix in (".txt", ".html"):
        said = next(Path(each) for each in done["files"] if each.endswith(suffix)).read_text(encoding="utf-8")
        assert "Team vision has spent" in said
        assert "Must act: ann@example.org." in said
        assert "Team vision cost $1,500 on 10 November" in said


def test_readers_of_mail_are_told_once(demo_copy: Context, tmp_path: Path) -> None:
    with running(tmp_path) as server:
        context = readied(demo_copy, server.settings())
        budgets = named("budgets")
        decision = {"action": "set", "scope": "total", "currency": "EUR", "amount": "1", "owner": "ann@example.org"}
        budgets.run(context, budgets.asked(decision))
        assert tell_of_money(context).startswith("Of money: ")
        assert tell_of_money(context) == ""
        assert [to for to, _ in server.inbox.mails] == [[READER]]
        mail = parsed(server)
    assert "The whole estate has spent" in mail.get_content().replace("\n", " ")
    assert "Budget of November" in mail["Subject"]
    assert mail["List-Unsubscribe"]
