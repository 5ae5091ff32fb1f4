"""The page, the commands and the API of idle incidents: what lasts, and what people decide about it."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from app import data
from app import format as written
from app.context import Context
from app.data import Scope
from app.services import named
from app.services._incidents import incidents_now
from ledger.errors import InputError
from ledger.tables import Audit, GpuHour, IdleIncident, IncidentExemption
from tests.app.conftest import Command, used
from tests.app.opening import metrics, opened
from tests.demo import DEMO_NOW


def lasting(context: Context) -> pl.DataFrame:
    found = incidents_now(context).filter(pl.col("closed_at").is_null())
    assert found.height
    return found.sort("idle_seconds", "gpu_uuid", descending=[True, False])


def run(context: Context, service: str, **params: Any) -> Any:
    found = named(service)
    return found.run(context, found.asked(params))


def press(test: AppTest, label: str) -> AppTest:
    (button,) = [each for each in test.button if each.label == label]
    button.click().run()
    assert not test.exception, [each.value for each in test.exception]
    return test


def actions(context: Context) -> list[tuple[str, str]]:
    found = context.store.read(Audit).sort("occurred_at", "audit_id")
    return [(row["actor"], row["action"]) for row in found.iter_rows(named=True)]


def test_the_page_shows_what_lasts(demo_context: Context) -> None:
    with used(demo_context):
        test = opened("idle_incidents")
    found = lasting(demo_context)
    assert metrics(test)["Open incidents"][0] == str(found.height)
    assert test.dataframe[0].value["gpu_uuid"].tolist() == found["gpu_uuid"].to_list()
    first = found.row(0, named=True)
    assert first["job_id"] in test.subheader[0].value
    assert written.duration(first["idle_seconds"]) in test.caption[0].value


def test_a_decision_counts_at_once_for_the_whole_job(demo_copy: Context) -> None:
    seconds = demo_copy.store.read(GpuHour)
    first = lasting(demo_copy).row(0, named=True)
    same = lasting(demo_copy).filter(pl.col("job_id") == first["job_id"]).height
    with used(demo_copy):
        test = press(opened("idle_incidents"), "Acknowledge")
        assert test.success[0].value.startswith(f"{same} incident")
        assert metrics(test)["Taken care of"][0] == str(same)
        test = opened("idle_incidents", status="acknowledged")
        assert test.dataframe[0].value["gpu_uuid"].shape[0] == same
        press(test, "Snooze a day")
        stood = incidents_now(demo_copy).filter(pl.col("job_id") == first["job_id"], pl.col("closed_at").is_null())
        assert set(stood["status"]) == {"snoozed"}
        assert set(stood["snoozed_until"]) == {DEMO_NOW + timedelta(days=1)}
        press(opened("idle_incidents", status="snoozed"), "Open it again")
        press(opened("idle_incidents"), "Exempt until it ends")
    stood = incidents_now(demo_copy).filter(pl.col("job_id") == first["job_id"], pl.col("closed_at").is_null())
    assert set(stood["status"]) == {"exempt"}
    done = [action for _, action in actions(demo_copy)]
    words = ("acknowledged", "snoozed", "open", "exempt")
    assert sorted(done) == sorted(f"incident {word}" for word in words for _ in range(same))
    assert demo_copy.store.read(GpuHour).equals(seconds), "an exempt idle second is still idle"


def test_a_rule_is_made_and_withdrawn_on_the_page(demo_copy: Context) -> None:
    user = lasting(demo_copy)["user"][0]
    with used(demo_copy):
        test = opened("idle_incidents")
        test.text_input(key="rule-user").set_value(user)
        test.text_input(key="rule-reason").set_value("a course")
        press(test, "Exempt")
        assert "a course" in test.success[0].value
        (rule,) = demo_copy.store.read(IncidentExemption).to_dicts()
        assert (rule["user"], rule["reason"], rule["node"], rule["made_by"]) == (user, "a course", "", "page")
        assert rule["ends_at"] == DEMO_NOW.replace(hour=0, minute=0, second=0) + timedelta(days=8)
        stood = incidents_now(demo_copy)
        stood = stood.filter(pl.col("user") == user, pl.col("closed_at").is_null())
        assert set(stood["status"]) == {"exempt"}
        press(opened("idle_incidents"), "Withdraw “a course”")
    assert "exempt" not in set(incidents_now(demo_copy)["status"])
    assert sorted(actions(demo_copy)) == [("page", "exemption created"), ("page", "exemption withdrawn")]


def test_a_rule_without_reason_or_pattern_is_refused_on_the_page(demo_copy: Context) -> None:
    with used(demo_copy):
        test = press(opened("idle_incidents"), "Exempt")
        assert "found no pattern" in test.error[0].value
        test.text_input(key="rule-node").set_value("gpu*")
        press(test, "Exempt")
        assert "reason: found nothing" in test.error[0].value
    assert demo_copy.store.read(IncidentExemption).is_empty()


def test_a_team_decides_about_its_own_incidents_alone(demo_copy: Context) -> None:
    found = lasting(demo_copy)
    own = found.row(0, named=True)
    (foreign, *_) = [
        *found.filter(pl.col("team") != own["team"]).iter_rows(named=True),
        {"gpu_uuid": "G", "opened_at": DEMO_NOW},
    ]
    viewer = replace(demo_copy, viewer=lambda: Scope("team", own["team"]), _store=demo_copy.store)
    with used(viewer):
        about = {"gpu_uuid": own["gpu_uuid"], "opened_at": own["opened_at"]}
        assert data.act("incidents", **about, decision="acknowledged")[0]["status"] == "acknowledged"
        for name, params in {
            "incidents": {"gpu_uuid": foreign["gpu_uuid"], "opened_at": foreign["opened_at"]},
            "exemptions": {"action": "create", "node": "*n", "reason": "x", "ends_at": DEMO_NOW},
        }.items():
            with pytest.raises(InputError, match=f"{name}: role team may not do that"):
                data.act(name, **params)
        test = opened("idle_incidents", status="acknowledged")
        assert set(test.dataframe[0].value["team"]) == {own["team"]}
        assert not [each for each in test.button if each.label == "Exempt"]


@pytest.mark.parametrize(
    ("service", "params", "words"),
    [
        ("incidents", {"gpu_uuid": "nobody"}, "found none of nobody that lasts"),
        ("incidents", {"job_id": "nobody"}, "found none of job nobody that lasts"),
        ("exemptions", {"action": "create", "user": "a", "reason": "x"}, "ends_at: found nothing"),
        ("exemptions", {"action": "create", "user": "a", "ends_at": DEMO_NOW}, "reason: found nothing"),
        ("exemptions", {"action": "create", "user": "*", "reason": "x", "ends_at": DEMO_NOW}, "found no pattern"),
        ("exemptions", {"action": "create", "user": "a", "reason": "x", "ends_at": DEMO_NOW}, "an instant to come"),
        ("exemptions", {"action": "withdraw", "exemption_id": "none"}, "found no rule none in force"),
    ],
)
def test_what_does_not_fit_is_refused(empty_context: Context, service: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        run(empty_context, service, **params)


def test_a_snooze_needs_an_end_to_come(demo_copy: Context) -> None:
    gpu = lasting(demo_copy)["gpu_uuid"][0]
    for until in (None, DEMO_NOW):
        with pytest.raises(InputError, match="snoozed_until: found"):
            run(demo_copy, "incidents", gpu_uuid=gpu, decision="snoozed", snoozed_until=until)


def test_commands_list_and_decide(command: Command, demo_copy: Context) -> None:
    store = demo_copy.settings.store.url
    first = demo_copy.store.read(IdleIncident).filter(pl.col("closed_at").is_null()).row(0, named=True)
    demo_copy.close()
    listed = json.loads(command("incident", "list", "--json", "--store", store).out)
    assert first["gpu_uuid"] in {each["gpu_uuid"] for each in listed}
    said = command("incident", "acknowledge", first["gpu_uuid"], "--comment", "asked", "--json", "--store", store)
    (done,) = json.loads(said.out)
    assert (done["status"], done["decided_by"], done["comment"]) == ("acknowledged", "command line", "asked")
    snoozed = command(
        "incident", "snooze", "--job", first["job_id"], "--until", "2099-01-01", "--json", "--store", store
    )
    assert {each["status"] for each in json.loads(snoozed.out)} == {"snoozed"}
    assert command("incident", "snooze", first["gpu_uuid"], "--store", store).code == 2
    assert command("incident", "reopen", first["gpu_uuid"], "--store", store).code == 0
    made = command(
        "incident",
        "exempt",
        "--user",
        first["user"],
        "--reason",
        "course",
        "--until",
        "2099-01-01",
        "--json",
        "--store",
        store,
    )
    (rule,) = json.loads(made.out)
    assert json.loads(command("incident", "list", "--status", "exempt", "--json", "--store", store).out)
    shown = command("incident", "exemptions", "--store", store)
    assert rule["exemption_id"] in shown.out
    assert command("incident", "withdraw", rule["exemption_id"], "--store", store).code == 0
    assert json.loads(command("incident", "exemptions", "--json", "--store", store).out) == []
    assert command("incident", "acknowledge", "--store", store).code == 2
