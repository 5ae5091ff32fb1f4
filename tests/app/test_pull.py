"""Sources from the command line: `pull`, `check`, and a hub that runs."""

import json
from pathlib import Path

import pytest

from collectors.cluster._configured import configured
from collectors.cluster.prometheus import PrometheusSettings
from ledger.config import load
from tests.app.conftest import Command, running
from tests.collectors.cluster.prometheus_server import at, open_metrics, prometheus_of, series, until


def toml(home: Path, text: str) -> None:
    (home / "clusterledger.toml").write_text(text, encoding="utf-8")


def test_a_section_that_does_not_fit_its_kind_stops_the_hub_and_is_told_by_check(command: Command, home: Path) -> None:
    toml(home, '[sources.metrics]\nkind = "prometheus"\nstep_second = 5\ntoken = 7\n')
    told = command("check").out
    assert "clusterledger.toml: sources.metrics.url: found nothing, expected a value" in told
    assert "sources.metrics.step_second: found an unknown key; did you mean step_seconds?" in told
    assert "sources.metrics.token: found a value that is not shown, expected text in quotes" in told
    ended = command("up", "--port", "0")
    assert ended.code == 2
    assert "sources.metrics.url: found nothing" in ended.err
    ended = command("pull")
    assert ended.code == 2
    assert "sources.metrics.url: found nothing" in ended.err


def test_secrets_of_a_source_come_from_the_environment_and_from_files(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml(home, '[sources.metrics]\nkind = "prometheus"\nurl = "http://127.0.0.1:9"\nuser = "u"\n')
    (home / "secrets").mkdir()
    (home / "secrets" / "sources__metrics__password").write_text("p-1", encoding="utf-8")
    monkeypatch.setenv("CLUSTERLEDGER_SECRETS", str(home / "secrets"))
    monkeypatch.setenv("CLUSTERLEDGER_SOURCES__METRICS__TOKEN", "t-1")
    (found,) = configured(load())
    assert isinstance(found.settings, PrometheusSettings)
    assert found.settings.token is not None
    assert found.settings.password is not None
    assert found.settings.token.get_secret_value() == "t-1"
    assert found.settings.password.get_secret_value() == "p-1"
    assert "t-1" not in repr(found)


def test_a_source_that_does_not_answer_is_said_by_pull_and_check(command: Command, home: Path) -> None:
    toml(home, '[sources.metrics]\nkind = "prometheus"\nurl = "http://127.0.0.1:9"\n')
    ended = command("pull")
    assert ended.code == 1
    assert "error: sources.metrics: http://127.0.0.1:9: " in ended.err
    assert "hint: is it up, and url of its section right?" in ended.err
    assert "failed   source metrics: http://127.0.0.1:9: " in command("check").out
    row = json.loads(command("sql", "SELECT * FROM source_state", "--format", "json").out)[0]
    assert (row["source_name"], row["status"], row["failed_count"]) == ("metrics", "failed", 1)
    assert command("pull", "metric").err.startswith(
        "error: sources.metric: found no such section; did you mean metrics?"
    )
    assert command("pull", "--since", "2026-11-20", "--until", "2026-11-19").code == 2


def test_without_sources_pull_says_how_to_configure_one(command: Command) -> None:
    ended = command("pull")
    assert (ended.code, ended.out) == (0, "")
    assert "see [sources.NAME]" in ended.err


@pytest.mark.xdist_group("prometheus")
def test_pull_keeps_rows_here_and_in_a_running_hub(command: Command, home: Path) -> None:
    told = [series("node_load1", {"instance": "n1:9100"}, dict.fromkeys(range(10), 2.5))]
    stretch = ("--since", at(-1).isoformat(), "--until", at(20).isoformat())
    with prometheus_of(home / "server", open_metrics(told)) as url:
        toml(home, f'[sources.metrics]\nkind = "prometheus"\ncluster = "c"\nurl = "{url}"\n')
        first = json.loads(command("pull", *stretch, "--json").out)[0]
        assert (first["ok"], first["rows"], first["tables"]) == (True, 10, {"host_sample": 10})
        with running(home):
            again = json.loads(command("pull", "metrics", *stretch, "--json").out)[0]
            assert (again["ok"], again["rows"], again["rejected"]) == (True, 0, 0)
            until(lambda: _stood(command) == ("done", 0), lambda: str(_stood(command)), seconds=30)
            assert "ok       source metrics: prometheus answers" in command("check").out
        counted = json.loads(command("sql", "SELECT count(*) AS n FROM host_sample", "--format", "json").out)
        assert counted == [{"n": 10}]


def _stood(command: Command) -> tuple[str, int]:
    query = "SELECT status, failed_count FROM source_state WHERE reached_at > TIMESTAMPTZ '2026-11-20 12:19:00Z'"
    rows = json.loads(command("sql", query, "--format", "json").out)
    return (rows[0]["status"], rows[0]["failed_count"]) if rows else ("", 0)
