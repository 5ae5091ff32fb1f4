"""Batches that the hub refused for good are sent again: what it takes is there once, and all else stays."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from collectors._again import Sent, sent_again
from collectors._spool import Sealed
from collectors._standing import all_put_aside, forget_put_aside, put_aside, put_aside_file
from ledger.config import Settings
from tests.collectors.hub import Hub

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROW = {"cluster": "lab", "node": "n1", "at": 1763640000000, "amount": "1.10", "ratio": 0.1, "many": 2**63 - 1}


@pytest.fixture
def spool(settings: Settings) -> Path:
    return settings.agent.spool


def aside(spool: Path, name: str, *tables: str, status: int = 422, rows: int = 1) -> None:
    row = {**ROW, "node": "former"} if status == 403 else ROW
    put_aside(spool, Sealed(name, {table: [row] * rows for table in tables}), status, "found table x", AT)


def kept(spool: Path) -> list[str]:
    return [each.batch_id for each in all_put_aside(spool)]


def outcomes(sent: Sent) -> list[tuple[object, ...]]:
    return [tuple(each.values()) for each in sent.records()]


def never(seconds: float) -> None:
    pytest.fail(f"waited {seconds} s")


def test_what_the_hub_takes_now_goes_and_what_it_refuses_again_stays(settings: Settings, hub: Hub, spool: Path) -> None:
    hub.refuses = "unknown"
    for name, table, rows in (("a", "new", 2), ("b", "unknown", 3), ("c", "new", 1), ("d", "unknown", 1)):
        aside(spool, name, table, rows=rows)
    sent = sent_again(settings, never)
    assert outcomes(sent) == [("taken", 2, 3), ("refused again", 2, 4)]
    assert (sent.ended, sent.reasons) == ("", {"HTTP 422: because": 2})
    assert hub.received == ["a", "b", "c", "d"], "each under its own id, oldest first"
    assert hub.tokens == {"Bearer secret"}
    assert hub.rows("new") == [ROW] * 3, "with the values that they had"
    assert kept(spool) == ["b", "d"]

    hub.refuses = ""
    assert outcomes(sent_again(settings, never)) == [("taken", 2, 4)]
    assert not put_aside_file(spool).exists()
    assert outcomes(sent_again(settings, never)) == []


def test_both_files_are_sent_and_a_line_that_was_cut_costs_no_other(
    settings: Settings, hub: Hub, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside(spool, "a", "t")
    monkeypatch.setattr("collectors._standing._PUT_ASIDE_BYTES", 10)
    aside(spool, "b", "t")
    monkeypatch.undo()
    with put_aside_file(spool).open("a", encoding="utf-8") as file:
        file.write('{"refused_at": "2026-11-20T12')
    aside(spool, "c", "t")
    assert kept(spool) == ["a", "b", "c"], "the next line is a line of its own"
    assert outcomes(sent_again(settings, never)) == [("taken", 3, 3)]
    assert kept(spool) == []
    assert put_aside_file(spool).read_text(encoding="utf-8") == '{"refused_at": "2026-11-20T12\n'


def test_a_kill_before_they_are_forgotten_sends_them_again_and_the_hub_has_them_once(
    settings: Settings, hub: Hub, spool: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        aside(spool, name, "t")
    aside(spool, "b", "t")  # killed between putting it aside and forgetting it
    shutil.copy(put_aside_file(spool), tmp_path / "before")
    sent_again(settings, never)
    shutil.copy(tmp_path / "before", put_aside_file(spool))
    assert outcomes(sent_again(settings, never)) == [("taken", 2, 2)]
    assert hub.received == ["a", "b"] * 2
    assert (hub.rows("t"), kept(spool)) == ([ROW] * 2, [])


def test_what_an_agent_puts_aside_meanwhile_stays(settings: Settings, hub: Hub, spool: Path) -> None:
    aside(spool, "a", "t")
    hub.status, hub.refuses = 429, "unknown"

    def agent_goes_on(seconds: float) -> None:
        aside(spool, "b", "unknown")
        hub.status = 200

    assert outcomes(sent_again(settings, agent_goes_on))[0] == ("taken", 1, 1)
    assert hub.received[:2] == ["a", "a"], "a hub that has too much to do is asked again"
    assert kept(spool) == ["b"]


def test_a_hub_that_has_too_much_to_do_for_long_is_left_alone(settings: Settings, hub: Hub, spool: Path) -> None:
    aside(spool, "a", "t")
    hub.status = 429
    waited: list[float] = []
    with capture_logs() as logs:
        sent = sent_again(settings, waited.append)
    assert len(logs) == 1
    assert (len(waited), len(hub.received)) == (4, 5)
    assert (sent.ended, kept(spool)) == ("HTTP 429: because", ["a"])


@pytest.mark.parametrize(
    ("breaks", "says", "advice"),
    [
        (lambda hub: hub.stop(), "ConnectionRefusedError", "is the hub up"),
        (lambda hub: setattr(hub, "status", 401), "HTTP 401: because", "clusterledger token create n1 --cluster lab"),
        (lambda hub: setattr(hub, "status", 403), "HTTP 403: because", "the token is another node's"),
        (lambda hub: setattr(hub, "status", 500), "HTTP 500: because", "the hub's log"),
        (lambda hub: setattr(hub, "answer", b"<html>"), "no hub's: <html>", "what answers at agent.hub is no hub"),
    ],
)
def test_what_is_not_the_batchs_own_fault_ends_it_and_keeps_the_rest(
    settings: Settings, hub: Hub, spool: Path, breaks: Callable[[Hub], None], says: str, advice: str
) -> None:
    for name in ("a", "b"):
        aside(spool, name, "t")
    sent_again(settings, never)
    for name in ("c", "d"):
        aside(spool, name, "t")
    hub.refuses = "t" if says.startswith("no hub") else ""
    breaks(hub)
    sent = sent_again(settings, never)
    assert says in sent.ended
    assert advice in sent.advice
    assert outcomes(sent) == []
    assert kept(spool) == ["c", "d"]


def test_a_hub_that_goes_away_has_what_it_took(settings: Settings, hub: Hub, spool: Path) -> None:
    for name, table in (("a", "t"), ("b", "waits"), ("c", "t")):
        aside(spool, name, table)
    hub.refuses, hub.lose_answer = "waits", True
    first = sent_again(settings, never)
    assert (outcomes(first), kept(spool)) == ([], ["a", "b", "c"]), "no answer: it may have it or not"
    assert outcomes(sent_again(settings, never))[0] == ("taken", 2, 2)
    assert (hub.rows("t"), kept(spool)) == ([ROW] * 2, ["b"])


@pytest.mark.parametrize("status", [403, 500])
def test_what_was_put_aside_for_its_name_or_for_a_stumble_does_not_block_the_rest(
    settings: Settings, hub: Hub, spool: Path, status: int
) -> None:
    """The hub refuses the node's former name again, or stumbles again, and goes on with the next."""
    aside(spool, "a", "t", status=status)
    aside(spool, "b", "t", status=status)
    hub.status = status
    sent = sent_again(settings, never)
    assert outcomes(sent) == [("refused again", 2, 2)]
    assert sent.reasons == {f"HTTP {status}: because": 2}
    assert (sent.ended, hub.received, kept(spool)) == ("", ["a", "b"], ["a", "b"])
    hub.status = 200
    assert outcomes(sent_again(settings, never)) == [("taken", 2, 2)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
def test_root_leaves_the_files_to_the_agents_user(settings: Settings, hub: Hub, spool: Path) -> None:
    """With `DynamicUser=` nobody can be the agent's user: a person is root."""
    for name in ("a", "b"):
        aside(spool, name, "t" if name == "a" else "unknown")
    spool.with_suffix(".lock").unlink()
    os.chown(put_aside_file(spool), 65534, 65533)
    hub.refuses = "unknown"
    sent_again(settings, never)
    owners = {(each.stat().st_uid, each.stat().st_gid) for each in spool.parent.glob("spool.*")}
    assert (owners, kept(spool)) == ({(65534, 65533)}, ["b"])


def test_forgetting_leaves_what_is_not_named_as_it_is(spool: Path) -> None:
    for name in ("a", "b"):
        aside(spool, name, "t", rows=2)
    path = put_aside_file(spool)
    path.chmod(0o640)
    second = path.read_text(encoding="utf-8").splitlines()[1]
    forget_put_aside(spool, {"a"})
    assert path.read_text(encoding="utf-8").splitlines() == [second]
    assert json.loads(second)["tables"] == {"t": [ROW] * 2}
    assert path.stat().st_mode & 0o777 == 0o640
    assert {each.name for each in path.parent.iterdir()} == {path.name, "spool.lock"}
