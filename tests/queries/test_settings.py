import pytest

from ledger.config import Settings
from ledger.errors import ConfigError
from ledger.money_sections import MoneySettings
from ledger.sections import Match
from queries import _settings
from queries.graph import Rollup, load
from queries.rollups._naming import Naming


def rollup(name: str) -> Rollup:
    return next(each for each in load() if each.name == name)


def test_each_settings_model_is_found_by_its_type() -> None:
    rule = Match(name="vision", field="user", value="ada")
    settings = Settings(teams=(rule,), money=MoneySettings(split_rule="70_30"), rules={"idle_gpu": {"window_days": 20}})
    naming = next(iter(_settings.values(rollup("job_gpu_hour"), settings).values()))
    assert isinstance(naming, Naming)
    assert naming.teams == (rule,)
    (money,) = _settings.values(rollup("cost_hour"), settings).values()
    assert money == settings.money
    (advice,) = _settings.values(rollup("idle_gpu"), settings).values()
    assert advice.model_dump()["window_days"] == 20


def test_sections_are_listed_and_checked() -> None:
    assert {"rules.idle_gpu", "rules.oversized_gpu", "rollups.thresholds"} <= set(_settings.sections())
    _settings.check(Settings())
    with pytest.raises(ConfigError, match=r"rules\.idle_gpus: found an unknown section; did you mean idle_gpu\?"):
        _settings.check(Settings(rules={"idle_gpus": {}}))
    with pytest.raises(ConfigError, match=r"rules\.idle_gpu\.window_days: found 7"):
        _settings.check(Settings(rules={"idle_gpu": {"window_days": 7}}))
    with pytest.raises(ConfigError, match=r"rules\.idle_gpu\.no_such_key"):
        _settings.check(Settings(rules={"idle_gpu": {"no_such_key": 7}}))
