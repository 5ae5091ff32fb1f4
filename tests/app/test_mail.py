"""The weekly mail on its way: to a real mail server, once to each reader."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app import jobs
from app.context import Context
from app.reports import message
from app.reports.message import MailError
from app.scheduler import Scheduler
from ledger.errors import ConfigError, InputError
from ledger.sections import MailSettings
from tests.app.conftest import Command
from tests.app.mail_server import REFUSED, MailServer, certified, running
from tests.app.weekly_mail import READER, WEEK, Clock, parsed, readied, reported, weekly_of
from tests.demo import DEMO_NOW
from tests.ports import free_port

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MailServer]:
    with running(tmp_path) as found:
        yield found


@pytest.mark.parametrize("mechanism", ["LOGIN", "PLAIN"])
def test_a_mail_server_takes_it_once(mechanism: str, demo_copy: Context, tmp_path: Path) -> None:
    with running(tmp_path, mechanisms=(mechanism,)) as server:
        context = readied(demo_copy, server.settings(unsubscribe="https://example.org/leave"))
        first = reported(context, send=True)
        again = reported(context, send=True)
        assert server.inbox.logins == [mechanism]
        assert [(row["recipient"], row["status"]) for row in first["reports"]] == [(READER, "sent")]
        assert [row["status"] for row in again["reports"]] == ["sent before"]
        assert again["sent"] == []
        assert [to for to, _ in server.inbox.mails] == [[READER]]
        mail = parsed(server)
    assert mail["Subject"] == first["reports"][0]["subject"]
    assert WEEK.name in mail["Subject"]
    assert mail["List-Unsubscribe"] == "<https://example.org/leave>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "weekly.clusterledger" in mail["List-Id"]


def test_a_mail_has_text_html_and_pictures_that_resolve(demo_copy: Context, server: MailServer) -> None:
    reported(readied(demo_copy, server.settings()), send=True)
    mail = parsed(server)
    assert mail.get_content_type() == "multipart/alternative"
    text, related = mail.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert related.get_content_type() == "multipart/related"
    html, *drawn = related.iter_parts()
    wanted = re.findall(r'src="cid:([^"]+)"', html.get_content())
    given = {str(each["Content-ID"]).strip("<>"): each for each in drawn}
    assert len(wanted) == 2
    assert set(wanted) == set(given)
    assert all(each.get_content().startswith(PNG) for each in drawn)
    assert {each.get_content_type() for each in drawn} == {"image/png"}
    assert {each.get_content_disposition() for each in drawn} == {"inline"}
    assert mail["List-Unsubscribe"] == "<mailto:ledger@example.org?subject=unsubscribe>"
    assert "MAY I TRUST THIS?" in text.get_content()


def test_each_reader_gets_the_own_teams_numbers(demo_copy: Context, server: MailServer) -> None:
    context = readied(demo_copy, server.settings(), {"address": "lead@example.org", "team": "vision"})
    assert reported(context, send=True)["sent"] == [READER, "lead@example.org"]
    subjects = {to[0]: str(parsed(server, index)["Subject"]) for index, (to, _) in enumerate(server.inbox.mails)}
    assert "team vision" in subjects["lead@example.org"]
    assert "team" not in subjects[READER]


def test_somebody_named_gets_it_as_often_as_asked(demo_copy: Context, server: MailServer) -> None:
    context = readied(demo_copy, server.settings())
    for _ in range(2):
        assert reported(context, send=True, to="guest@example.org")["sent"] == ["guest@example.org"]
    assert len(server.inbox.mails) == 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"password": "guess"}, "refused the login of reporter"),
        ({"ca_file": None}, "certificate not trusted"),
        ({"security": "none"}, "mail server"),
    ],
)
def test_a_server_that_refuses_is_one_line(
    wrong: dict[str, object], words: str, demo_copy: Context, server: MailServer, tmp_path: Path
) -> None:
    changed = {**wrong, "ca_file": str(certified(tmp_path))} if "ca_file" in wrong else wrong
    context = readied(demo_copy, server.settings(**changed))
    with pytest.raises(MailError, match=words) as caught:
        reported(context, send=True)
    assert f"127.0.0.1:{server.port}" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert server.inbox.mails == []
    assert context.store.select("SELECT count(*) AS n FROM report_delivery")["n"][0] == 0


def test_a_refused_reader_is_named_and_does_not_count_as_told(demo_copy: Context, server: MailServer) -> None:
    context = readied(demo_copy, server.settings(), {"address": REFUSED})
    with pytest.raises(MailError, match=f"refused the recipient {REFUSED}"):
        reported(context, send=True)
    assert [to for to, _ in server.inbox.mails] == [[READER]]
    told = context.store.select("SELECT DISTINCT recipient FROM report_delivery")["recipient"].to_list()
    assert told == [READER]


def test_a_refused_reader_does_not_keep_the_others_from_theirs(demo_copy: Context, server: MailServer) -> None:
    context = readied(demo_copy, server.settings(), {"address": REFUSED}, {"address": "last@example.org"})
    for _ in range(2):
        with pytest.raises(MailError, match=REFUSED):
            reported(context, send=True)
    assert [to for to, _ in server.inbox.mails] == [[READER], ["last@example.org"]]


def test_a_server_that_is_down_is_one_line(demo_copy: Context) -> None:
    port = free_port()
    context = readied(demo_copy, {"host": "127.0.0.1", "port": port})
    with pytest.raises(MailError, match="Connection refused") as caught:
        reported(context, send=True)
    assert "\n" not in caught.value.message


def test_without_a_server_nothing_is_sent(demo_copy: Context) -> None:
    with pytest.raises(ConfigError, match=r"mail\.host"):
        reported(readied(demo_copy, {}), send=True)
    with pytest.raises(ConfigError, match=r"mail\.host"):
        message.send([], MailSettings())


@pytest.mark.parametrize("address", ["nobody", "a b@example.org", "@", "x@"])
def test_an_address_that_is_none_is_refused(address: str, empty_context: Context) -> None:
    with pytest.raises(InputError, match="expected a mail address"):
        reported(empty_context, to=address)


def test_a_finding_is_said_again_after_the_cool_down(demo_copy: Context, server: MailServer) -> None:
    clock = Clock(DEMO_NOW)
    context = readied(demo_copy, server.settings(), clock=clock)
    reported(context, send=True)
    first = parsed(server).get_body(("plain",))
    assert first is not None
    titles = [action.title for action in weekly_of(context).actions]
    assert titles
    assert all(title in first.get_content() for title in titles)
    # Another week than those before: each goes out once.
    for days, name, is_said in ((2, "2026-W45", False), (9, "2026-W47", True)):
        clock.at = DEMO_NOW + timedelta(days=days)
        reported(context, send=True, week=name)
        body = parsed(server, -1).get_body(("plain",))
        assert body is not None
        assert (titles[0] in body.get_content()) == is_said


def test_a_week_missed_while_the_hub_was_down_goes_out_once(demo_copy: Context, server: MailServer) -> None:
    clock = Clock(DEMO_NOW)
    context = readied(demo_copy, server.settings(), clock=clock)
    weekly = next(job for job in jobs.JOBS if job.name == "weekly_report")
    Scheduler(context, (weekly,)).tick()
    assert server.inbox.mails == []
    # Down over Monday 07:00, up on Wednesday.
    clock.at = datetime(2026, 11, 25, 9, tzinfo=UTC)
    for _ in range(2):
        scheduler = Scheduler(context, (weekly,))
        for _ in range(3):
            scheduler.tick()
    assert len(server.inbox.mails) == 1
    assert "2026-W47" in parsed(server)["Subject"]
    runs = context.store.select("SELECT status FROM job_run WHERE job_name = 'weekly_report' ORDER BY due_at")
    assert runs["status"].to_list() == ["skipped", "done"]


def test_a_weekly_job_waits_for_a_server_that_is_down(demo_copy: Context, tmp_path: Path) -> None:
    clock = Clock(DEMO_NOW)
    weekly = next(job for job in jobs.JOBS if job.name == "weekly_report")
    down = readied(demo_copy, {"host": "127.0.0.1", "port": free_port()}, clock=clock)
    Scheduler(down, (weekly,)).tick()
    clock.at = datetime(2026, 11, 23, 7, 1, tzinfo=UTC)
    Scheduler(down, (weekly,)).tick()
    with running(tmp_path) as server:
        up = readied(demo_copy, server.settings(), clock=clock)
        Scheduler(up, (weekly,)).tick()
        assert server.inbox.mails == []
        clock.at += timedelta(minutes=11)
        for _ in range(2):
            Scheduler(up, (weekly,)).tick()
        assert len(server.inbox.mails) == 1


def test_the_command_that_sends_writes_nothing_here(command: Command, home: Path, server: MailServer) -> None:
    lines = "\n".join(
        f"{key} = {value if isinstance(value, int) else repr(value)}" for key, value in server.settings().items()
    )
    (home / "clusterledger.toml").write_text(
        f"[mail]\n{lines}\n[[report.recipients]]\naddress = '{READER}'\n", encoding="utf-8"
    )
    sent = command("report", "weekly", "--week", "2026-W46", "--send")
    assert (sent.code, sent.out) == (0, "")
    assert f"sent to {READER}" in sent.err
    assert len(server.inbox.mails) == 1
    again = command("report", "weekly", "--week", "2026-W46", "--send")
    assert again.code == 0
    assert len(server.inbox.mails) == 1
    assert {path.suffix for path in home.iterdir()} <= {".toml", ".duckdb", ".pem", ".wal"}


def test_the_command_says_in_one_line_that_the_server_is_down(command: Command, home: Path) -> None:
    (home / "clusterledger.toml").write_text(f"[mail]\nhost = '127.0.0.1'\nport = {free_port()}\n", encoding="utf-8")
    ended = command("report", "weekly", "--to", READER, "--send")
    assert ended.code == 1
    assert [line.split(":")[0].strip() for line in ended.err.strip().splitlines()] == ["error", "hint"]
