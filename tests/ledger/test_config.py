from decimal import Decimal
from pathlib import Path

import pytest

from ledger.config import load
from ledger.errors import ConfigError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLUSTERLEDGER_STORE", "CLUSTERLEDGER_CONFIG", "CLUSTERLEDGER_SECRETS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_the_defaults_hold() -> None:
    assert load().store.url == "duckdb:clusterledger.duckdb"


def test_the_file_in_the_working_directory_is_read() -> None:
    written(Path("clusterledger.toml"), "[store]\nkeep_raw_days = 3\n[collectors.nvml]\nenabled = false\n")
    settings = load()
    assert settings.store.keep_raw_days == 3
    assert settings.collectors == {"nvml": {"enabled": False}}


def test_an_override_wins_over_the_environment_and_the_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.toml", '[store]\nurl = "duckdb:file"\nkeep_raw_days = 3\n')
    monkeypatch.setenv("CLUSTERLEDGER_STORE", "duckdb:environment")
    assert load(path).store.url == "duckdb:environment"
    settings = load(path, store={"url": "duckdb:command"})
    assert (settings.store.url, settings.store.keep_raw_days) == ("duckdb:command", 3)


def test_a_nested_variable_sets_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERLEDGER_HUB__PORT", "0")
    assert load().hub.port == 0


def test_a_secret_is_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secrets").mkdir()
    written(tmp_path / "secrets/mail__password", "swordfish")
    monkeypatch.setenv("CLUSTERLEDGER_SECRETS", str(tmp_path / "secrets"))
    password = load().mail.password
    assert password is not None
    assert password.get_secret_value() == "swordfish"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[store]\nkeep_raw_days = 0\n", "store.keep_raw_days: found 0, expected 1 or more"),
        (
            '[report]\ntime_zone = "Mars"\n',
            "report.time_zone: found 'Mars', expected a time zone such as Europe/Berlin",
        ),
        ("[store]\nkeep_raw_day = 2\n", "store.keep_raw_day: found an unknown key; did you mean keep_raw_days?"),
        ("[mney]\nsplit_rule = 1\n", "mney: found an unknown key; did you mean money?"),
        ('[hub]\nport = "x"\n', "hub.port: found 'x', expected a whole number"),
        ('[mail]\nsecurity = "ssl"\n', "mail.security: found 'ssl', expected 'starttls', 'tls' or 'none'"),
        ("[agent]\ntoken = 3\n", "agent.token: found a value that is not shown, expected text in quotes"),
        (
            '[agent]\ntoken = "one\\ntwo"\n',
            "agent.token: found a value that is not shown, expected one line of plain letters, without accents",
        ),
        (
            '[hub]\nmetrics_token = "s\u00e4gs"\n',
            "hub.metrics_token: found a value that is not shown, expected one line of plain letters, without accents",
        ),
        ("[[teams]]\nname = 'a'\nfield = 'user'\n", "teams.0.value: found nothing, expected a value"),
        (
            "[money.shared_cost_ratios]\na = 0.7\nb = 0.4\n",
            "money.shared_cost_ratios: found {'a': 0.7, 'b': 0.4}, expected shares that sum to 1 at most",
        ),
        (
            "[money.split_ratios]\ngpu = 0.8\ncpu = 0.1\n",
            "money.split_rule: found",
        ),
        (
            '[money]\nsplit_rule = "custom"\n',
            "money.split_rule: found 'custom', expected split_ratios that sum to 1; these sum to 0",
        ),
        (
            '[money.shared_cost_rules]\ntax = "fixed"\n',
            'money.shared_cost_ratios: found {}, expected a share of each team, as shared_cost_rules.tax is "fixed"',
        ),
        (
            '[money]\nshared_cost = "fixed"\n',
            'money.shared_cost_ratios: found {}, expected a share of each team, as shared_cost is "fixed"',
        ),
        (
            "[money.shared_cost_ratios]\na = 0.1234567\n",
            "money.shared_cost_ratios.a: found 0.1234567, expected at most 6 decimals",
        ),
        ("[store\n", "found text that is no TOML"),
    ],
)
def test_a_problem_is_one_line_with_where_found_expected(text: str, line: str) -> None:
    written(Path("clusterledger.toml"), text)
    with pytest.raises(ConfigError) as caught:
        load()
    assert caught.value.message.startswith(f"clusterledger.toml: {line}")
    assert "\n" not in caught.value.message
    assert "clusterledger config" in caught.value.hint


def test_shares_of_shared_cost_are_kept_as_they_are_written() -> None:
    written(
        Path("clusterledger.toml"), '[money]\nshared_cost = "fixed"\n[money.shared_cost_ratios]\na = 0.1\nb = 0.9\n'
    )
    assert load().money.shared_cost_ratios == {"a": Decimal("0.1"), "b": Decimal("0.9")}


def test_every_problem_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written(Path("clusterledger.toml"), "[store]\nkeep_raw_days = 0\n")
    monkeypatch.setenv("CLUSTERLEDGER_HUB__PORT", "70000")
    with pytest.raises(ConfigError) as caught:
        load(store={"keep_minute_days": -1})
    assert set(caught.value.message.splitlines()) == {
        "clusterledger.toml: store.keep_raw_days: found 0, expected 1 or more",
        "command line: store.keep_minute_days: found -1, expected 1 or more",
        "environment: CLUSTERLEDGER_HUB__PORT: hub.port: found '70000', expected 65535 or less",
    }


def test_a_variable_of_an_unknown_section_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERLEDGER_STOER__URL", "duckdb:x")
    with pytest.raises(ConfigError, match="found section stoer") as caught:
        load()
    assert caught.value.hint == "did you mean store?"


@pytest.mark.parametrize("name", ["AGENT_TOKEN", "HUB_TLS_KEY", "AUTH_CLIENT_SECRET"])
def test_a_variable_with_one_underscore_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"CLUSTERLEDGER_{name}", "x")
    with pytest.raises(ConfigError) as raised:
        load()
    assert f"expected CLUSTERLEDGER_{name.replace('_', '__', 1)}" in raised.value.message
    assert "x" not in raised.value.message.split(), "it may be a secret"


def test_what_kubernetes_says_of_a_service_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HUB_PORT": "tcp://10.0.0.7:8501", "SERVICE_HOST": "10.0.0.7", "PORT_8501_TCP": "x"}.items():
        monkeypatch.setenv(f"CLUSTERLEDGER_{name}", value)
    assert load().hub.port == 8501


def test_a_token_is_its_line_without_the_end_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a Secret of Kubernetes has it that was made with `echo`."""
    monkeypatch.setenv("CLUSTERLEDGER_AGENT__TOKEN", "abc\n")
    token = load().agent.token
    assert token is not None
    assert token.get_secret_value() == "abc"


def test_a_missing_file_and_a_missing_secrets_directory_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: No such file"):
        load(tmp_path / "nowhere.toml")
    monkeypatch.setenv("CLUSTERLEDGER_SECRETS", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="expected a directory"):
        load()


def test_settings_read_from_one_file_do_not_leak_into_the_next_read(tmp_path: Path) -> None:
    load(written(tmp_path / "a.toml", "[store]\nkeep_raw_days = 3\n"))
    assert load().store.keep_raw_days == 14
