"""What pages read: fresh after a change, cached before, and never another team's."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from app import context as contexts
from app import data
from app.again import Asked
from app.cache import Cache
from app.context import Context
from app.page import ROLES, SECTIONS, pages
from ledger.config import load
from ledger.errors import ConfigError, InputError
from ledger.frames import to_frame
from ledger.tables import Gpu, JobUsage, Node, Team

AT = datetime(2026, 11, 1, tzinfo=UTC)
LAB = data.Scope("team", "lab")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    found = Context(load(store={"url": "duckdb::memory:"}))
    contexts.use(found)
    yield found
    contexts.use(None)
    found.close()


def add(here: Context, *names: str) -> None:
    rows = [{"cluster": "c", "node": name, "exists_start": AT} for name in names]
    here.store.append(Node, to_frame(Node, rows), source="test")
    here.changed({"node"})


def test_a_read_is_cached_until_its_table_changes(here: Context) -> None:
    add(here, "n1")
    first = data.rows(Node, scope=data.Scope())
    assert data.rows(Node, scope=data.Scope()) is first
    here.changed({"job"})
    assert data.rows(Node, scope=data.Scope()) is first
    add(here, "n2")
    assert data.rows(Node, scope=data.Scope())["node"].to_list() == ["n1", "n2"]


def test_a_team_sees_its_own_rows_only(here: Context) -> None:
    usage = [
        {
            "cluster": "c", "job_id": team, "submitted_at": AT, "restart_count": 0, "user": "u", "team": team,
            "model": "m", "state": "COMPLETED", "workload_kind": "training", "is_estimated": False,
        }
        for team in ("lab", "other")
    ]  # fmt: skip
    frame = to_frame(JobUsage, usage)
    filled = frame.with_columns(pl.col(name).fill_null(0) for name, dtype in frame.schema.items() if dtype.is_numeric())
    here.store.append(JobUsage, filled, source="test")
    here.changed()
    assert set(data.rows(JobUsage, scope=data.Scope())["team"]) == {"lab", "other"}
    assert set(data.rows(JobUsage, scope=LAB)["team"]) == {"lab"}
    assert data.rows(JobUsage, scope=LAB, where={"team": ["other"]}).is_empty()
    assert data.rows(JobUsage, scope=data.Scope("team", "nobody")).is_empty()


def test_a_team_sees_nothing_of_tables_that_name_no_team(here: Context) -> None:
    from ledger.tables import FocusCharge  # noqa: PLC0415  only here

    assert data.rows(FocusCharge, scope=LAB).is_empty()
    assert data.rows(FocusCharge, scope=LAB, columns=("BilledCost",)).columns == ["BilledCost"]
    add(here, "n1")
    assert data.rows(Node, scope=LAB).height == 1
    assert {"node", "gpu"} <= data.OPEN_TO_TEAMS
    assert data.OPEN_TO_TEAMS.isdisjoint({"team", "model"}), "other teams' names are theirs"
    assert {Gpu, Team}


def test_an_answer_is_limited_to_the_viewers_team(here: Context) -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    assert data.answer("freshness", scope=data.Scope(), now=now).height == 1
    assert data.answer("freshness", scope=LAB, now=now).height == 1
    with pytest.raises(InputError, match="tells of all teams"):
        data.answer("unmatched_charges", scope=LAB, start=AT, end=now)


def test_what_is_made_of_a_read_is_made_once_and_of_any_other_frame_each_time(here: Context) -> None:
    add(here, "n1")
    calls: list[int] = []

    def counted(frame: pl.DataFrame) -> pl.DataFrame:
        calls.append(frame.height)
        return frame.head(1)

    read = data.rows(Node, scope=data.Scope())
    assert data.once(counted, read) is data.once(counted, read)
    assert data.once(counted, data.once(counted, read)).height == 1
    assert calls == [1, 1]
    other = read.clone()
    assert data.once(counted, other) is not data.once(counted, other)
    assert calls == [1, 1, 1, 1]


def test_of_what_is_about_the_present_the_newest_is_kept(here: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "_CACHE", Cache(1_000_000))
    monkeypatch.setattr(data, "_ASKED", Asked())
    add(here, "n1")
    clock = [AT]
    monkeypatch.setattr(data, "now", lambda: clock[0])
    calls: list[tuple[str, datetime]] = []

    def aged(frame: pl.DataFrame, past: int, *, now: datetime) -> pl.DataFrame:
        calls.append(("aged", now))
        return frame.with_columns(age=pl.lit(past))

    def halved(frame: pl.DataFrame) -> pl.DataFrame:
        calls.append(("halved", clock[0]))
        return frame.head(1)

    def made() -> pl.DataFrame:
        calls.append(("made", clock[0]))
        return pl.DataFrame({"x": [1]})

    sizes = set()
    for minute in range(5):
        clock[0] = AT + timedelta(minutes=minute)
        for _ in range(2):
            data.made("each", ["node"], made, scope=data.Scope(), now=data.minute())
            read = data.rows(Node, scope=data.Scope())
            data.once(halved, data.once(aged, read, 7, now=data.minute()))
        sizes.add(data._CACHE.size_bytes)
    assert len(sizes) == 1
    assert calls == [
        (name, AT + timedelta(minutes=minute)) for minute in range(5) for name in ("made", "aged", "halved")
    ]
    # After a change what is about the present is made anew, of this minute.
    add(here, "n2")
    clock[0] = AT + timedelta(minutes=9)
    data.again(lambda: False)
    assert calls[15:] == [("aged", clock[0]), ("halved", clock[0])]


def test_outside_a_hub_a_page_is_told_what_to_run() -> None:
    with pytest.raises(InputError, match="no hub runs") as caught:
        data.now()
    assert "clusterledger up" in caught.value.hint


def test_the_cache_drops_what_was_used_least_recently() -> None:
    cache = Cache(3 * 8_000)
    made: list[str] = []

    def frame(name: str) -> pl.DataFrame:
        made.append(name)
        return pl.DataFrame({"x": range(1_000)})

    for name in ("a", "b", "c", "a", "d", "a", "b"):
        cache.get(name, lambda name=name: frame(name))
    assert made == ["a", "b", "c", "d", "b"]


def test_what_is_made_of_a_read_counts_without_it_and_goes_with_it() -> None:
    cache = Cache(20_000)

    def chart(read: pl.DataFrame, name: str) -> pl.DataFrame:
        return cache.get((id(read), name), lambda: (read.head(10), read), of=read)[0]

    read = cache.get("read", lambda: pl.DataFrame({"x": range(1_000)}))
    for name in "abcdefgh":
        chart(read, name)
    assert cache.size_bytes == 8_000 + 8 * 80, "one read, however much is made of it"
    cache.get("next", lambda: pl.DataFrame({"x": range(1_500)}))
    chart(read, "i")
    assert cache.size_bytes == 12_000, "the read had to go, and nothing keeps its rows"
    assert not cache.holds(read)
    later = cache.get("later", lambda: pl.DataFrame({"x": range(1_500)}))
    cache.get("large", lambda: (pl.DataFrame({"x": range(1_500)}), later), of=later)
    assert cache.peek("large") is None
    assert cache.peek("later") is later, "what is made of it never drives it out"


def test_the_cache_drops_what_nobody_asks_for_any_more() -> None:
    clock = [0.0]
    cache = Cache(1_000_000, lambda: clock[0])
    made: list[str] = []
    asked = {0: "ab", 20: "a", 29: "c", 31: "cdab", 62: "e"}
    for minute, name in [(minute, name) for minute, names in asked.items() for name in names]:
        clock[0] = 60.0 * minute
        cache.get(name, lambda name=name: made.append(name))
    assert made == ["a", "b", "c", "d", "b", "e"], "the oldest first, when another comes"
    assert cache.size_bytes == 65_536


def test_a_newer_version_takes_the_place_of_the_older_and_of_all_that_was_made_of_it() -> None:
    cache = Cache(1_000_000)
    sizes = []
    for version in range(5):
        read = cache.get("read", lambda version=version: pl.DataFrame({"x": [version] * 1_000}), version=version)
        half = cache.get(("half", id(read)), lambda read=read: (read.head(500), read), of=read)[0]
        cache.get(("chart", id(half)), lambda half=half: ("a chart", half), of=half)
        cache.get("other", lambda: "stays", version=0)
        sizes.append(cache.size_bytes)
        assert cache.holds(read)
        assert cache.holds(half)
    assert len(set(sizes)) == 1
    again = cache.get("read", lambda: read, version=9)
    assert again is read
    assert cache.size_bytes == sizes[0], "what was made of an equal read holds"
    assert cache.peek("other") == "stays"


def test_a_newer_version_of_what_is_its_own_source_takes_nothing_else_with_it() -> None:
    cache = Cache(1_000_000)
    read = cache.get("read", lambda: pl.DataFrame({"x": [1]}))
    cache.get("chart", lambda: ("a chart", read), of=read)
    for minute in range(2):
        cache.get("same", lambda: (read, read), of=read, version=minute)
    assert cache.peek("chart") == ("a chart", read)


def test_a_value_that_is_too_large_is_not_kept_and_nothing_older_in_its_place() -> None:
    cache = Cache(20_000)
    cache.get("read", lambda: pl.DataFrame({"x": range(1_000)}), version=1)
    cache.get("read", lambda: pl.DataFrame({"x": range(9_000)}), version=2)
    assert cache.peek("read") is None
    assert cache.size_bytes == 0


def test_a_failed_read_is_not_kept() -> None:
    cache = Cache(1_000_000)

    def fails() -> int:
        raise ConfigError("no")

    with pytest.raises(ConfigError):
        cache.get("k", fails)
    assert cache.get("k", lambda: 1) == 1


def test_pages_are_found_in_order_and_have_paths_of_their_own() -> None:
    found = pages()
    assert [SECTIONS.index(each.section) for each in found] == sorted(SECTIONS.index(each.section) for each in found)
    assert len({each.path for each in found}) == len(found)
    assert found[0].path == ""
    assert all(each.doc for each in found)
    assert all(set(each.roles) <= set(ROLES) for each in found)


def test_no_module_of_app_hides_another_package() -> None:
    """Streamlit puts `app/` first on the path when it is run on `main.py`."""
    import sys  # noqa: PLC0415  only here
    from importlib.metadata import packages_distributions  # noqa: PLC0415  only here
    from pathlib import Path  # noqa: PLC0415  only here

    import app  # noqa: PLC0415  only here

    own = {path.stem for path in Path(next(iter(app.__path__))).iterdir() if not path.name.startswith("_")}
    others = (
        (set(packages_distributions()) - {"app"}) | set(sys.stdlib_module_names) | {"ledger", "queries", "collectors"}
    )
    assert own & others == set()
