"""slurmrestd's JSON in its old and its newer shapes, and what is said when it refuses."""

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest

from collectors.cluster._slurm_rest import number
from collectors.cluster._source import Pulled
from collectors.cluster.slurm import SlurmSettings, slurm
from ledger.errors import SourceError
from ledger.tables import Job, JobGpu, Node, NodeState

AT = 1_795_000_000


class Daemon(ThreadingHTTPServer):
    """Answers as slurmrestd would: a status and a body for the end of each path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        empty = (200, {"errors": [], "jobs": []})
        self.answers: dict[str, tuple[int, object]] = {
            "slurm/jobs": empty,
            "slurmdb/jobs": empty,
            "slurm/nodes": (200, {"errors": [], "nodes": []}),
        }
        self.asked: list[tuple[str, Mapping[str, list[str]], Mapping[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Daemon

    def do_GET(self) -> None:
        """Answer a question."""
        parts = urlsplit(self.path)
        plugin, _, rest = parts.path.strip("/").split("/", 2)
        self.server.asked.append((parts.path, parse_qs(parts.query), dict(self.headers.items())))
        status, body = self.server.answers.get(f"{plugin}/{rest}", (404, {"errors": []}))
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    server = Daemon()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def pull(daemon: Daemon, **settings: Any) -> Pulled:
    source = SlurmSettings(kind="slurm", cluster="c", url=daemon.url, **settings)
    (piece,) = slurm.open(source)(datetime.now(UTC) - timedelta(minutes=5), datetime.now(UTC))
    return piece


def said(value: int | None, *, is_endless: bool = False) -> dict[str, object]:
    """Return a number as versions from 0.0.39 on say it."""
    return {"set": value is not None, "infinite": is_endless, "number": value or 0}


NEWER_JOB = {
    "job_id": 41,
    "name": "train",
    "user_name": "ana",
    "account": "vision",
    "partition": "gpu",
    "qos": "normal",
    "job_state": ["RUNNING"],
    "state_reason": "None",
    "submit_time": said(AT),
    "eligible_time": said(AT),
    "start_time": said(AT + 60),
    "end_time": said(AT + 90_000),
    "time_limit": said(None, is_endless=True),
    "restart_cnt": 1,
    "array_job_id": said(40),
    "array_task_id": said(3),
    "array_task_string": "",
    "het_job_id": said(0),
    "het_job_offset": said(0),
    "exit_code": {"status": ["SUCCESS"], "return_code": said(0), "signal": {"id": said(None), "name": ""}},
    "nodes": "n[1-2]",
    "gres_detail": ["gpu:h100:2(IDX:0-1)", "gpu:h100:1(IDX:3)"],
    "tres_req_str": "cpu=2,gres/gpu=3,node=2",
    "tres_alloc_str": "cpu=2,gres/gpu=3,gres/gpu:h100=3,mem=64G,node=2",
    "comment": "",
}

NEWER_RECORD = {
    "job_id": 39,
    "cluster": "alpha",
    "name": "eval",
    "user": "bo",
    "account": "vision",
    "partition": "gpu",
    "qos": "normal",
    "state": {"current": ["CANCELLED"], "reason": "None"},
    "time": {
        "submission": AT,
        "eligible": AT,
        "start": AT + 10,
        "end": AT + 70,
        "limit": said(30),
    },
    "restart_cnt": 0,
    "array": {"job_id": 0, "task_id": said(None), "task": ""},
    "het": {"job_id": 38, "job_offset": said(1)},
    "exit_code": {"status": ["SIGNALED"], "return_code": said(None), "signal": {"id": said(15), "name": "TERM"}},
    "nodes": "n1",
    "tres": {
        "requested": [{"type": "gres", "name": "gpu", "id": 1001, "count": 1}],
        "allocated": [
            {"type": "mem", "name": "", "id": 2, "count": 512},
            {"type": "gres", "name": "gpu", "id": 1001, "count": 1},
            {"type": "energy", "name": "", "id": 3, "count": -2},
        ],
    },
    "comment": {"job": "note", "administrator": "", "system": ""},
}

NEWER_NODE = {
    "name": "n1",
    "state": ["MIXED", "DRAIN"],
    "reason": "bad cable",
    "reason_changed_at": said(AT + 5),
    "gres": "gpu:h100:4(S:0-1)",
    "cpus": 64,
    "real_memory": 1024,
}


def test_newer_versions_say_numbers_and_states_in_other_shapes(daemon: Daemon) -> None:
    daemon.answers["slurm/jobs"] = (200, {"jobs": [NEWER_JOB]})
    daemon.answers["slurmdb/jobs"] = (200, {"jobs": [NEWER_RECORD]})
    daemon.answers["slurm/nodes"] = (200, {"nodes": [NEWER_NODE]})
    piece = pull(daemon, api_version="v0.0.40")
    assert piece.rejected == ()
    running, ended = piece.frames[Job].sort("job_id", descending=True).to_dicts()
    assert (running["state"], running["restart_count"], running["ended_at"]) == ("RUNNING", 1, None)
    assert (running["gpu_count"], running["time_limit_seconds"], running["labels"]) == (3, None, '{"JobID": "40_3"}')
    assert (ended["state"], ended["exit_code"], ended["labels"]) == ("CANCELLED", "0:15", '{"JobID": "38+1"}')
    assert (ended["time_limit_seconds"], ended["memory_bytes"], ended["comment"]) == (1800, 512 * 2**20, "note")
    held = piece.frames[JobGpu].sort("node", "gpu_uuid").select("node", "gpu_uuid").rows()
    assert held == [("n1", "index:0"), ("n1", "index:1"), ("n2", "index:3")]
    (state,) = piece.frames[NodeState].to_dicts()
    assert (state["state"], state["reason"]) == ("DRAINING", "bad cable")
    assert state["state_start"] == datetime.fromtimestamp(AT + 5, UTC)
    assert piece.frames[Node]["memory_bytes"].to_list() == [2**30]
    assert set(piece.standing) == {Job, JobGpu, NodeState, Node}


def test_who_asks_is_in_the_headers_and_the_window_in_seconds(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("SLURM_JWT=abc.def\n")
    pull(daemon, user="ledger", token_file=tmp_path / "token", api_version="v0.0.40")
    assert [path for path, _, _ in daemon.asked] == [
        "/slurm/v0.0.40/nodes",
        "/slurm/v0.0.40/jobs",
        "/slurmdb/v0.0.40/jobs",
    ]
    headers = {name.lower(): value for name, value in daemon.asked[0][2].items()}
    assert (headers["x-slurm-user-name"], headers["x-slurm-user-token"]) == ("ledger", "abc.def")
    query = daemon.asked[2][1]
    assert all(query[name][0].startswith("uts") for name in ("start_time", "end_time"))


def test_a_job_in_no_known_shape_is_refused_alone(daemon: Daemon) -> None:
    daemon.answers["slurm/jobs"] = (200, {"jobs": [{"job_id": 1}, NEWER_JOB, "x", {**NEWER_JOB, "nodes": "n[1"}]})
    piece = pull(daemon)
    assert piece.frames[Job]["job_id"].to_list() == ["41"]
    assert len(piece.rejected) == 3
    assert "expected slurmrestd's v0.0.38" in piece.rejected[0].reason
    assert set(piece.standing) == {NodeState, Node}


def test_a_name_that_is_no_text_is_read_and_stops_nothing(daemon: Daemon) -> None:
    """A job's name is any bytes; slurmrestd hands them on as they are."""
    content = json.dumps({"jobs": [{**NEWER_JOB, "name": "caf@"}]}).encode().replace(b"@", b"\xe9")
    daemon.answers["slurm/jobs"] = (200, content)
    assert pull(daemon).frames[Job]["job_name"].to_list() == ["caf\ufffd"]


@pytest.mark.parametrize(
    ("status", "body", "message", "hint"),
    [
        (401, {"errors": [{"error": "Authentication failure"}]}, "status 401, 'Authentication failure'", "token_file"),
        (404, b"not found", "status 404, 'not found'", "api_version"),
        (500, {"errors": [{"description": "database"}]}, "status 500, 'database'", "accounting = false"),
        (200, b"<html>", "status 200, '<html>'", "log of slurmrestd"),
        (200, {"jobs": 5}, "status 200", "log of slurmrestd"),
        (200, [], "status 200", "log of slurmrestd"),
        (200, b"[" * 100_000, "status 200", "log of slurmrestd"),
    ],
)
def test_what_is_refused_is_said_with_what_to_do(
    daemon: Daemon, status: int, body: object, message: str, hint: str
) -> None:
    daemon.answers["slurmdb/jobs"] = (status, body)
    with pytest.raises(SourceError) as caught:
        pull(daemon)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_daemon_that_is_not_there_is_said(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    for url, message in ((f"unix:{tmp_path}/none", "found no socket"), (nobody, "ConnectError")):
        with pytest.raises(SourceError, match=message):
            list(slurm.open(SlurmSettings(kind="slurm", url=url))(None, datetime.now(UTC)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        (0, 0),
        (None, None),
        (-1, None),
        (0xFFFFFFFE, None),
        (0xFFFFFFFFFFFFFFFE, None),
        (True, None),
        ("5", None),
        (said(7), 7),
        (said(None), None),
        (said(3, is_endless=True), None),
        (AT * 10, AT * 10),
    ],
)
def test_numbers(value: object, expected: int | None) -> None:
    assert number(value) == expected


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("jobs", "nodes"), [("rest_jobs.json", "rest_nodes.json"), ("rivos_squeue.json", "rivos_sinfo.json")]
)
def test_real_answers(daemon: Daemon, shared_data: Path, jobs: str, nodes: str) -> None:
    listed, there = (json.loads((shared_data / "slurm" / name).read_text()) for name in (jobs, nodes))
    daemon.answers |= {"slurm/jobs": (200, listed), "slurm/nodes": (200, there)}
    piece = pull(daemon, accounting=False)
    assert piece.rejected == ()
    told = Job.validate(piece.frames[Job])
    assert told.height == len({(each["job_id"], each["submit_time"]) for each in listed["jobs"]})
    running = sum(each["job_state"] == "RUNNING" for each in listed["jobs"])
    assert told.filter(pl.col("state") == "RUNNING", pl.col("started_at").is_not_null()).height == running
    assert NodeState.validate(piece.frames[NodeState]).height == len(there["nodes"])
