import sys
from pathlib import Path
from typing import Annotated

import dataframely as dy
import pytest
from pydantic import BaseModel

from ledger.errors import ConfigError
from ledger.tables import GpuHour, GpuMinute, GpuSample, JobGpuHour
from queries import graph
from queries.graph import Input, Rollup, Span, code_version, load, ordered, rollup, settings_fingerprint


class Limits(BaseModel):
    idle_below_ratio: float = 0.05


def _first() -> Rollup:
    @rollup()
    def gpu_minute(samples: dy.LazyFrame[GpuSample], span: Span, limits: Limits) -> dy.LazyFrame[GpuMinute]:
        raise AssertionError(samples, span, limits)

    return gpu_minute


def _second() -> Rollup:
    @rollup()
    def gpu_hour(
        minutes: dy.LazyFrame[GpuMinute], earlier: Annotated[dy.LazyFrame[GpuHour], Input(columns=("node",))]
    ) -> dy.LazyFrame[GpuHour]:
        raise AssertionError(minutes, earlier)

    return gpu_hour


def test_a_rollup_stands_behind_those_it_reads_and_may_read_its_own_output() -> None:
    first, second = _first(), _second()
    assert [each.name for each in ordered([second, first])] == ["gpu_minute", "gpu_hour"]
    assert first.takes_span == "span"
    assert first.settings == {"limits": Limits}
    assert second.sources[1].read.columns == ("node",)


def test_a_circle_is_refused_with_its_members() -> None:
    @rollup()
    def gpu_minute(hours: dy.LazyFrame[GpuHour]) -> dy.LazyFrame[GpuMinute]:
        raise AssertionError(hours)

    with pytest.raises(ConfigError, match="circle: gpu_hour, gpu_minute"):
        ordered([gpu_minute, _second()])


def test_a_rollup_carries_its_tables_name() -> None:
    @rollup()
    def job_hours(hours: dy.LazyFrame[GpuHour]) -> dy.LazyFrame[JobGpuHour]:
        raise AssertionError(hours)

    with pytest.raises(ConfigError, match="found the name job_hours, expected job_gpu_hour"):
        ordered([job_hours])


def test_two_rollups_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="second rollup is called gpu_minute"):
        ordered([_first(), _first()])


def test_a_parameter_of_another_type_is_refused() -> None:
    def gpu_hour(limit: int) -> dy.LazyFrame[GpuHour]:
        raise AssertionError(limit)

    with pytest.raises(ConfigError, match="parameter limit: found <class 'int'>"):
        rollup()(gpu_hour)


def test_nodes_by_name_in_rows_that_are_told_apart_by_them_are_refused() -> None:
    read = Input(apart=True, where={"node": ("n1",)})

    def gpu_hour(hours: Annotated[dy.LazyFrame[GpuHour], read]) -> dy.LazyFrame[GpuHour]:
        raise AssertionError(hours)

    with pytest.raises(ConfigError, match="gpu_hour: hours: found nodes by name where apart, expected all"):
        rollup()(gpu_hour)


def test_all_rollups_of_the_project_have_an_order() -> None:
    names = [each.name for each in load()]
    assert len(names) == len(set(names))
    behind: set[type[dy.Schema]] = set()
    produced = {each.schema for each in load()}
    for each in load():
        missing = {source.schema for source in each.sources} & produced - behind - {each.schema}
        assert not missing, each.name
        behind.add(each.schema)


MODULE = '''"""A rollup."""

import dataframely as dy

from ledger.tables import GpuHour, GpuMinute
from queries.graph import rollup


@rollup()
def gpu_hour(minutes: dy.LazyFrame[GpuMinute]) -> dy.LazyFrame[GpuHour]:
    """Sum."""
    return minutes.filter(LIMIT)  # a comment


LIMIT = 5
'''


def _version(folder: Path, name: str, text: str) -> str:
    (folder / f"{name}.py").write_text(text)
    sys.path.insert(0, str(folder))
    try:
        return code_version(__import__(name).gpu_hour)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(name, None)


def test_words_and_layout_change_no_code_version_but_code_does(tmp_path: Path) -> None:
    def version(text: str) -> str:
        graph._parsed.cache_clear()
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return _version(folder, "some_rollup_module", text)

    original = version(MODULE)
    assert version(MODULE.replace("# a comment", "#  another").replace('"""Sum."""', '"""Sum it."""')) == original
    assert version(MODULE.replace("LIMIT = 5", "LIMIT = 6")) != original
    assert version(MODULE.replace("@rollup()", "@rollup(version=2)")) != original


def test_a_changed_helper_module_changes_the_code_version() -> None:
    assert "queries.counters" in graph._modules("queries.counters")
    assert "queries.graph" not in graph._modules("queries.rule")


def test_settings_have_a_fingerprint_by_value() -> None:
    assert settings_fingerprint({"limits": Limits()}) == settings_fingerprint({"limits": Limits(idle_below_ratio=0.05)})
    assert settings_fingerprint({"limits": Limits()}) != settings_fingerprint({"limits": Limits(idle_below_ratio=0.06)})
