"""The weekly mail: its numbers, its parts, its way to a mail server, and that it goes out once."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app import data, jobs, sums
from app import format as written
from app.context import Context
from app.data import Scope
from app.headline import headline
from app.reports import message, pictures, render, week
from app.reports.lines import changes
from app.reports.message import MailError
from app.reports.weekly import Weekly, gather
from app.scheduler import Scheduler
from app.services import named
from app.services.findings import standing
from ledger.config import MailSettings
from ledger.errors import ConfigError, InputError
from ledger.money import parse
from ledger.tables import ForecastDay
from tests.app.conftest import Command
from tests.app.mail_server import REFUSED, MailServer, certified, free_port, running
from tests.demo import DEMO_NOW, settings_of

READER = "manager@example.org"
WEEK = week.last_complete(DEMO_NOW, week.zone_of("UTC"))
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MailServer]:
    with running(tmp_path) as found:
        yield found


class Clock:
    """A clock that a test moves."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


def readied(context: Context, mail: dict[str, object], *readers: dict[str, str], clock: Clock | None = None) -> Context:
    """Return the context with a mail server and readers."""
    path = Path(context.settings.store.url.removeprefix("duckdb:"))
    settings = settings_of(path, mail=mail, report={"recipients": [{"address": READER}, *readers]})
    return replace(context, settings=settings, now=clock or context.now, _store=context.store)


def reported(context: Context, **asked: object) -> Any:
    service = named("report")
    return service.run(context, service.asked(asked))


def weekly_of(context: Context, *, team: str = "", of: week.Week = WEEK, mailed: tuple[str, ...] = ()) -> Weekly:
    return gather(
        partial(data.answered, context, scope=Scope()),
        standing(context),
        context.store.read(ForecastDay),
        of,
        context.now(),
        team=team,
        url="https://ledger.example.org/",
        mailed=mailed,
    )


@pytest.mark.parametrize("team", ["", "vision"])
def test_the_mail_says_what_the_first_page_says(team: str, demo_context: Context) -> None:
    found = headline(partial(data.answered, demo_context, scope=Scope()), WEEK.window, team=team)
    assert found.spent
    assert found.idle_cost
    weekly = weekly_of(demo_context, team=team)
    for text in (render.text(weekly), render.html(weekly, {"states": "cid:a", "spend": "cid:b"})):
        for totals in (found.spent, found.idle_cost):
            for currency, amount in totals.items():
                assert written.money(amount, currency, compact=True) in text
        assert written.percent(found.idle_ratio) in text
        for state in ("unallocated", "allocated_idle", "held_idle"):
            if found.state_hours.get(state):
                assert written.gpu_hours(found.state_hours[state] * 3600) in text


def test_a_months_expectation_and_its_actions_come_from_the_store(demo_context: Context) -> None:
    weekly = weekly_of(demo_context)
    best = demo_context.store.select("SELECT * FROM finding WHERE status = 'open' ORDER BY saving_effective_month DESC")
    first = best.row(0, named=True)
    text = render.text(weekly)
    assert weekly.actions[0].finding_id == first["finding_id"]
    assert first["title"] in text
    assert written.money(first["saving_effective_month"], first["billing_currency"], compact=True) in text
    assert all(line.strip() in text for line in first["directive"].splitlines())
    free = sums.by_currency(best.head(3), "saving_effective_month")
    assert sums.shown(free) in weekly.lead
    assert weekly.month_end in text


def test_a_team_is_told_of_itself_only(demo_context: Context) -> None:
    text = render.text(weekly_of(demo_context, team="vision"))
    others = demo_context.store.select("SELECT DISTINCT model FROM job_usage WHERE team <> 'vision' AND model <> ''")
    mine = demo_context.store.select("SELECT DISTINCT model FROM job_usage WHERE team = 'vision'")["model"].to_list()
    hidden = [model for model in others["model"] if model not in mine]
    assert len(hidden) > 3
    assert not [model for model in hidden if model in text]


def test_names_are_escaped_in_html(demo_context: Context) -> None:
    weekly = weekly_of(demo_context, team="<b>")
    html = render.html(weekly, {"states": "cid:a"})
    assert "team &lt;b&gt;" in html
    assert "team <b>" not in html
    assert "TEAM <b>" in render.text(weekly)


def test_a_week_without_anything_says_so(empty_context: Context) -> None:
    weekly = weekly_of(empty_context)
    assert weekly.subject.endswith("nothing in the ledger")
    assert "nothing for this week" in render.text(weekly)
    assert "nothing for this week" in render.html(weekly, pictures.drawn(weekly))  # type: ignore[arg-type]  none are drawn
    assert pictures.drawn(weekly) == {}


def test_the_ledgers_first_weeks_are_compared_with_nothing(demo_context: Context) -> None:
    assert weekly_of(demo_context).has_whole_week_before
    assert weekly_of(demo_context).spent_change
    first = weekly_of(demo_context, of=WEEK.before)
    assert not first.has_whole_week_before
    assert first.spent_change == ""
    assert {part.change for part in first.parts} == {"–"}


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ("112", "100", "+12 %"),
        ("88", "100", "-12 %"),
        ("100", "100", "+0 %"),
        ("2500", "100", "×25"),
        ("200000", "1", "more than ×100"),
        ("5", "0", "new"),
        ("5", None, "new"),
        (None, "5", "–"),
        ("-50", "-100", "+50 %"),
    ],
)
def test_a_change_is_written_for_people(now: str | None, before: str | None, expected: str) -> None:
    amounts = [None if each is None else parse(each).amount for each in (now, before)]
    assert sums.change(*amounts) == expected


def test_changes_of_currencies_stand_beside_each_other() -> None:
    now = {"USD": parse("110").amount, "EUR": parse("50").amount}
    assert changes(now, {"USD": parse("100").amount}) == "+10 % USD, new EUR"


def test_html_needs_nothing_from_elsewhere(demo_context: Context) -> None:
    html = render.html(weekly_of(demo_context), {"states": "cid:a", "spend": "cid:b"})
    assert set(re.findall(r'src="([^"]+)"', html)) == {"cid:a", "cid:b"}
    assert {link.split("/")[2] for link in re.findall(r'href="([^"]+)"', html)} == {"ledger.example.org"}
    assert "<script" not in html
    assert "@media" in html


def parsed(server: MailServer, index: int = 0) -> EmailMessage:
    found = message_from_bytes(server.inbox.mails[index][1], policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


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


def test_the_files_of_a_week_are_written(demo_context: Context, tmp_path: Path) -> None:
    found = reported(demo_context, out=str(tmp_path / "reports"))
    names = {Path(each).name for each in found["files"]}
    assert names == {f"weekly-{WEEK.name}{suffix}" for suffix in (".eml", ".html", ".txt")}
    assert found["sent"] == []
    html = (tmp_path / "reports" / f"weekly-{WEEK.name}.html").read_text(encoding="utf-8")
    assert html.count("data:image/png;base64,") == 2
    mail = message_from_bytes((tmp_path / "reports" / f"weekly-{WEEK.name}.eml").read_bytes(), policy=policy.default)
    assert found["reports"][0]["subject"] == mail["Subject"]


def test_the_command_writes_the_last_whole_week(command: Command, home: Path) -> None:
    before = week.last_complete(datetime.now(UTC), week.zone_of("UTC")).name
    ended = command("report", "weekly", "--out", "reports")
    assert ended.code == 0
    after = week.last_complete(datetime.now(UTC), week.zone_of("UTC")).name
    written_files = {path.name for path in (home / "reports").iterdir()}
    assert written_files in [
        {f"weekly-{each}{suffix}" for suffix in (".eml", ".html", ".txt")} for each in (before, after)
    ]
    assert {Path(line).name for line in ended.out.splitlines()} == written_files


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
