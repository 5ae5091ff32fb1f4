"""The spool: bounded, kept over restarts, one agent's."""

import os
import random
import re
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors._spool import Sealed, Spool
from collectors._standing import put_aside
from ledger.errors import StoreError

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_sealed_rows_keep_their_id_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "spool.db"
    spool = Spool(path, 1 << 20)
    spool.append({"host_sample": [{"n": 1, "sampled_at": AT}]})
    before = spool.seal()
    spool.append({"host_sample": [{"n": 2}]})
    spool.close()
    spool = Spool(path, 1 << 20)
    after = spool.seal()
    assert before is not None
    assert before == after
    spool.forget(before.batch_id)
    rest = spool.seal()
    assert rest is not None
    assert rest.batch_id != before.batch_id
    assert rest.tables == {"host_sample": [{"n": 2}]}
    spool.forget(rest.batch_id)
    assert spool.seal() is None
    spool.close()


@pytest.fixture
def open_mask() -> Iterator[None]:
    """A process whose files everybody may read, as one that no unit of systemd starts."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_mask")
def test_what_people_run_is_for_the_agents_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path, 1 << 20)
    spool.append({"t": [{"n": 1}]})
    put_aside(path, Sealed("b", {"t": [{"n": 1}]}), 422, "found table t", AT)
    modes = {each.name: oct(each.stat().st_mode & 0o777) for each in tmp_path.iterdir()}
    spool.close()
    assert modes == dict.fromkeys(("spool.db", "spool.db-wal", "spool.lock", "spool.refused.jsonl"), "0o600")


@pytest.mark.usefixtures("open_mask")
def test_a_spool_of_an_earlier_release_goes_on_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    Spool(path, 1 << 20).close()
    path.chmod(0o644)
    spool = Spool(path, 1 << 20)
    spool.append({"t": [{"n": 1}]})
    assert spool.waiting() == 1
    spool.close()
    assert path.stat().st_mode & 0o777 == 0o644, "who reads it is its owner's choice"


def test_a_full_spool_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", 2_000)
    noise = [os.urandom(300).hex() for _ in range(20)]
    gone = sum(spool.append({"t": [{"n": number, "noise": text}, {"n": number}]}) for number, text in enumerate(noise))
    assert gone > 0
    assert spool.waiting() == 40 - gone
    sealed = spool.seal()
    assert sealed is not None
    assert sealed.tables["t"][-1]["n"] == 19
    assert sealed.tables["t"][0]["n"] == gone // 2
    assert spool.dropped() == gone
    assert spool.dropped() == 0
    spool.close()


def test_a_damaged_spool_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(b"this is no database" * 100)
    spool = Spool(path, 1 << 20)
    assert spool.seal() is None
    assert (tmp_path / "spool.db.damaged").exists()
    assert str(spool.replaced()).endswith("; nothing in it can be read")
    assert spool.replaced() is None, "it is told once"
    spool.close()


def test_rows_that_a_disk_has_damaged_hold_up_no_others(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path, 1 << 20)
    for number in range(3):
        spool.append({"t": [{"n": number}]})
    spool.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE entry SET body = x'00112233' WHERE id = 1")
        connection.execute("UPDATE entry SET body = ? WHERE id = 2", (zstandard.compress(b"\xc1"),))
    connection.close()
    spool = Spool(path, 1 << 20)
    sealed = spool.seal()
    assert sealed is not None
    assert sealed.tables == {"t": [{"n": 2}]}
    assert spool.seal() == sealed
    assert (spool.damaged(), spool.damaged()) == (2, 0), "each is told once, however often it is tried"
    spool.forget(sealed.batch_id)
    assert spool.seal() is None
    spool.close()


@given(place=st.integers(0, 10_000), change=st.integers(1, 255), seed=st.integers(0, 3))
def test_a_byte_that_changes_in_a_round_is_noticed(place: int, change: int, seed: int) -> None:
    """It never becomes another number, a crash, or memory for a length that nobody wrote."""
    rows = [{"n": number * 7 % 11, "noise": f"{number * 0.37:.3f}" * seed, "none": None} for number in range(50)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spool.db"
        spool = Spool(path, 1 << 20)
        spool.append({"t": rows})
        connection = spool._connection
        (body,) = connection.execute("SELECT body FROM entry").fetchone()
        damaged = bytearray(body)
        damaged[place % len(body)] ^= change
        with connection:
            connection.execute("UPDATE entry SET body = ?", (bytes(damaged),))
        sealed = spool.seal()
        assert sealed is not None
        assert (sealed.tables, spool.damaged()) in (({}, 50), ({"t": rows}, 0))
        spool.close()


def _filled(path: Path, rounds: int) -> int:
    """Keep rounds of some kilobytes, and return how many rows they are."""
    spool = Spool(path, 1 << 30)
    for number in range(rounds):
        spool.append({"t": [{"n": number, "noise": os.urandom(3_000).hex()}]})
    spool.remember("boot_id", "b1")
    spool.close()
    return rounds


@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=3))
@settings(deadline=None)
def test_whatever_byte_of_the_file_changes_the_rest_goes_out_and_nothing_is_made_up(
    changes: list[tuple[int, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spool.db"
        spool = Spool(path, 1 << 20)
        for number in range(6):
            spool.append({"t": [{"n": number, "noise": f"{number}" * 700}]})
        spool.seal()
        spool.append({"t": [{"n": 6, "noise": "6" * 700}]})
        spool.close()
        content = bytearray(path.read_bytes())
        for place, change in changes:
            content[place % len(content)] ^= change
        path.write_bytes(content)
        found: list[object] = []
        for _ in range(3):
            with suppress(StoreError):
                spool = Spool(path, 1 << 20)
                break
        for _ in range(20):
            with suppress(StoreError):
                spool.size()
                sealed = spool.seal()
                if sealed is None:
                    break
                found += [(row["n"], row["noise"]) for row in sealed.tables.get("t", [])]
                spool.forget(sealed.batch_id)
        else:
            pytest.fail("it never ends")
        assert set(found) <= {(number, f"{number}" * 700) for number in range(7)}
        assert len(found) == len(set(found))
        spool.append({"t": [{"n": 7}]})
        assert spool.seal() is not None
        spool.close()


@pytest.mark.parametrize("seed", range(6))
def test_a_page_that_a_disk_has_damaged_takes_few_rounds_with_it(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "spool.db"
    _filled(path, 60)
    chance = random.Random(seed)  # noqa: S311  spoils a file, guards nothing
    with path.open("r+b") as file:
        for _ in range(2):
            file.seek(4096 * chance.randrange(2, path.stat().st_size // 4096))
            file.write(chance.randbytes(4096))
    spool = Spool(path, 1 << 30)
    found: list[int] = []
    while (sealed := spool.seal()) is not None:
        found += [int(row["n"]) for row in sealed.tables.get("t", [])]
        spool.forget(sealed.batch_id)
    lost = spool.damaged()
    said = spool.replaced()
    if said is not None:
        lost += int(re.findall(r"(\d+) of 60 rounds", said)[0])
        assert (tmp_path / "spool.db.damaged").exists()
        assert spool.recall("boot_id") == "b1"
    assert found == sorted(set(found))
    assert len(found) + lost == 60
    assert lost <= 40
    spool.append({"t": [{"n": 99}]})
    last = spool.seal()
    assert last is not None
    assert last.tables == {"t": [{"n": 99}]}
    spool.close()


def test_a_damaged_spool_that_cannot_be_put_aside_is_tried_again(tmp_path: Path) -> None:
    path, aside = tmp_path / "spool.db", tmp_path / "spool.db.damaged"
    _filled(path, 20)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    (aside / "in the way").mkdir(parents=True)
    with pytest.raises(StoreError, match="directory"):
        Spool(path, 1 << 30)
    (aside / "in the way").rmdir()
    aside.rmdir()
    spool = Spool(path, 1 << 30)
    spool.append({"t": [{"n": 2}]})
    assert aside.is_file()
    assert str(spool.replaced()).endswith("; nothing in it can be read")
    sealed = spool.seal()
    assert sealed is not None
    assert {"n": 2} in sealed.tables["t"]
    spool.close()


def test_a_disk_that_damages_the_file_while_it_is_open_costs_one_round(tmp_path: Path) -> None:
    path, aside = tmp_path / "spool.db", tmp_path / "spool.db.damaged"
    _filled(path, 20)
    spool = Spool(path, 1 << 30)
    spool._connection.execute("PRAGMA cache_size = 0")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    (aside / "in the way").mkdir(parents=True)
    for _ in range(3):
        with pytest.raises(StoreError):
            spool.append({"t": [{"n": 1}]})
    (aside / "in the way").rmdir()
    aside.rmdir()
    with suppress(StoreError):
        spool.append({"t": [{"n": 1}]})
    spool.append({"t": [{"n": 2}]})
    assert aside.is_file()
    assert spool.replaced() is not None
    sealed = spool.seal()
    assert sealed is not None
    assert {"n": 2} in sealed.tables["t"]
    spool.close()


def test_what_is_remembered_comes_back_as_it_was_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path, 1 << 20)
    for key in ("gpu lab n1 a", "gpu lab n1 b", "gpu lab n1 a longer key"):
        spool.remember(key, f'{{"is": "{key}"}}')
    assert spool.recall("gpu lab n1 a") == '{"is": "gpu lab n1 a"}'
    assert len(spool.recollect("gpu lab n1 ")) == 3
    spool.remember("gpu lab n1 b", None)
    assert spool.recall("gpu lab n1 b") is None
    with spool._connection as connection:
        connection.execute("UPDATE memory SET value = replace(value, 'is', 'iz') WHERE key = 'gpu lab n1 a'")
    assert spool.recall("gpu lab n1 a") is None
    assert spool.recollect("gpu lab n1 ") == ['{"is": "gpu lab n1 a longer key"}']
    spool.close()


def test_two_agents_on_one_spool_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path, 1 << 20)
    with pytest.raises(StoreError, match="locked") as caught:
        Spool(path, 1 << 20)
    assert "one agent per spool" in caught.value.hint
    spool.close()


def test_how_much_waits_and_since_when(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", 1 << 20)
    assert (spool.size().rows, spool.size().bytes, spool.size().oldest) == (0, 0, None)
    before = time.time()
    spool.append({"t": [{"n": 1}, {"n": 2}]})
    spool.append({"t": [{"n": 3}]})
    size = spool.size()
    assert size.rows == 3
    assert 20 < size.bytes < 1_000
    assert size.oldest is not None
    assert before <= size.oldest <= time.time()
    spool.close()


def test_a_spool_of_an_earlier_release_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path, 1 << 20)
    spool.append({"t": [{"n": 1}]})
    spool.close()
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE entry DROP COLUMN kept_at")
        connection.execute("ALTER TABLE memory DROP COLUMN checksum")
        connection.execute("INSERT INTO memory VALUES ('boot_id', 'b0')")
    connection.close()
    spool = Spool(path, 1 << 20)
    assert (spool.size().rows, spool.size().oldest) == (1, None)
    assert spool.recall("boot_id") == "b0"
    spool.append({"t": [{"n": 2}]})
    sealed = spool.seal()
    assert sealed is not None
    assert sealed.tables == {"t": [{"n": 1}, {"n": 2}]}
    spool.close()


def test_what_comes_after_a_batch_is_sealed_without_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", 1 << 20)
    spool.append({"t": [{"n": 1}]})
    first = spool.seal()
    assert first is not None
    assert spool.seal(besides=[first.batch_id]) is None
    spool.append({"t": [{"n": 2}]})
    second = spool.seal(besides=[first.batch_id])
    assert second is not None
    assert second.tables == {"t": [{"n": 2}]}
    assert spool.seal() == first
    assert spool.seal(besides=[first.batch_id, second.batch_id]) is None
    spool.close()
