"""What receivers get: our own JSON, signed; a line for a chat; few calls for many incidents."""

import hashlib
import hmac
import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from ledger.config import Settings, load
from ledger.errors import ConfigError
from ledger.sections import Receiver as Wanted
from tests.app.conftest import Command
from tests.app.incidents import MINUTE, NOW, Estate
from tests.app.receiver import Receiver

SINCE = NOW - 40 * MINUTE


def test_a_call_is_signed_with_its_time(estate: Estate, receiver: Receiver) -> None:
    estate.idles("G1", since=SINCE)
    estate.passes()
    at = receiver.seen[0]["X-Clusterledger-Timestamp"]
    assert int(at) == int(estate.now.timestamp())
    signed = hmac.new(b"hush", at.encode() + b"." + receiver.bodies[0], hashlib.sha256).hexdigest()
    assert receiver.seen[0]["X-Clusterledger-Signature"] == f"sha256={signed}"


def test_many_incidents_go_in_few_calls(estate: Estate, receiver: Receiver) -> None:
    estate.idle_together([f"G{number:03}" for number in range(249)], since=SINCE)
    assert estate.passes() == "249 told, 0 waiting"
    assert [len(document["events"]) for document in receiver.documents()] == [100, 100, 49]


def test_a_chat_gets_one_line_for_a_job(receiver: Receiver, tmp_path: Path) -> None:
    estate = Estate(tmp_path / "ledger.duckdb", Wanted(name="chat", kind="slack", url=receiver.url))
    estate.idles("G1", since=SINCE, job_name="<!channel> & co")
    estate.idles("G2", since=SINCE, job_name="<!channel> & co")
    estate.idles("G3", since=SINCE, job_id="12", job_name=None, user=None, effective_cost=None)
    estate.passes()
    (document,) = receiver.documents()
    assert document["text"].splitlines() == [
        "2 GPUs of job 4711 (&lt;!channel&gt; &amp; co): idle for 40 min. ann, team vision, on gpu-07, $24.69",
        "1 GPU of job 12: idle for 40 min. unknown user, team vision, on gpu-07",
        "https://ledger.example.org/idle-incidents",
    ]
    estate.ends("G3", since=SINCE)
    estate.passes()
    assert receiver.documents()[1]["text"].startswith("1 GPU of job 12: no longer idle, after 40 min.")
    estate.context.close()


def test_a_body_is_plain_json(estate: Estate, receiver: Receiver) -> None:
    estate.idles("G1", since=SINCE, job_name="schön")
    estate.passes()
    assert "schön".encode() in receiver.bodies[0]
    assert json.loads(receiver.bodies[0])["version"] == 1


def test_check_says_whether_a_receiver_listens_and_tells_it_nothing(
    command: Command, home: Path, receiver: Receiver
) -> None:
    lines = [
        "[[notify]]\nname = 'up'\nurl = '" + receiver.url + "/secret'",
        "[[notify]]\nname = 'down'\nurl = 'http://127.0.0.1:9/secret'",
    ]
    (home / "clusterledger.toml").write_text("\n".join(lines), encoding="utf-8")
    said = command("check", "--json").out
    found = {each["part"]: each for each in json.loads(said)}
    assert (found["notify up"]["status"], found["notify down"]["status"]) == ("ok", "failed")
    assert "secret" not in said
    assert receiver.calls == 0


@pytest.mark.parametrize(("status", "told"), [(200, "1 told, 0 waiting"), (500, "0 told, 1 waiting")])
def test_an_answer_counts_from_its_first_line_on_though_it_never_ends(tmp_path: Path, status: int, told: str) -> None:
    over = threading.Event()

    class Endless(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.end_headers()
            with suppress(OSError):
                while not over.wait(0.01):
                    self.wfile.write(b"and so on " * 10)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        # What is never given up must end somehow.
        threading.Timer(30, over.set).start()
        estate = Estate(tmp_path / "ledger.duckdb", Wanted(name="a", url=f"http://127.0.0.1:{server.server_port}"))
        estate.idles("G1", since=SINCE)
        assert estate.passes() == told
        assert not over.is_set()
        over.set()
        server.shutdown()
    estate.context.close()


@pytest.mark.parametrize("secret", ["abc\ndef", "abc\u00f6"])
def test_a_token_that_no_header_can_hold_is_refused_and_not_shown(
    secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "[[notify]]\nname = 'a'\nurl = 'http://x'\nkind = 'slack'\nsecret = " + json.dumps(secret)
    (tmp_path / "clusterledger.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="expected one line of plain letters") as caught:
        load()
    assert "abc" not in str(caught.value)
    assert Wanted(name="a", url="http://x", secret=SecretStr(secret)).secret, "a signature is made with any letters"


def test_two_receivers_of_one_name_are_refused() -> None:
    one = Wanted(name="a", url="http://x")
    with pytest.raises(ValidationError, match="a stands twice"):
        Settings(notify=(one, one))
