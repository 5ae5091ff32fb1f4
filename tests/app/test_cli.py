"""The command line: its words, its exit codes, its streams."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from app.cli import build
from collectors._spool import Sealed
from collectors._standing import Noted, put_aside
from tests.app.conftest import Command
from tests.collectors.hub import Hub

GOLDEN = Path(__file__).parent / "golden" / "help.txt"

BILL = """\
BilledCost,EffectiveCost,ListCost,ContractedCost,BillingCurrency,BillingAccountId,BillingPeriodStart,BillingPeriodEnd,\
ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ChargeClass,ChargeDescription,ProviderName,PublisherName,InvoiceIssuerName,ServiceName,\
ServiceCategory,ResourceId
{cost},{cost},{cost},{cost},USD,acct,2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,2026-10-05T00:00:00Z,\
2026-10-05T01:00:00Z,Usage,,hour,Cloud,Cloud,Cloud,Compute,Compute,i-1
"""


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command with the words that reach it."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


def test_golden_help(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    found = [path for path, _ in commands(typer.main.get_command(build()))]
    text = "\n".join(f"$ clusterledger {' '.join([*path, '--help'])}\n{command(*path, '--help').out}" for path in found)
    if os.environ.get("CLUSTERLEDGER_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [(), ("bills",), ("report",)])
def test_a_bare_command_shows_its_help(command: Command, path: tuple[str, ...]) -> None:
    ended = command(*path)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == command(*path, "--help").out


def test_the_version_needs_no_command(command: Command) -> None:
    ended = command("--version")
    assert (ended.code, ended.out, ended.err) == (0, f"{version('clusterledger')}\n", "")


def test_the_agent_alone_says_what_a_hub_needs() -> None:
    code = """
import sys
from importlib.abc import MetaPathFinder
class Without(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"polars", "dataframely", "duckdb", "streamlit"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Without())
from app.cli import main
main(["sql", "SELECT 1"])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: found no library ")
    assert ended.stderr.endswith("  hint: pip install 'clusterledger[hub]'\n")


def test_a_node_with_the_agent_alone_is_not_told_of_people_and_mail(home: Path) -> None:
    code = """
import sys
sys.modules.update(dict.fromkeys(("polars", "dataframely", "duckdb", "streamlit")))
from app.cli import main
main(["check", "--json"])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    parts = {each["part"] for each in json.loads(ended.stdout)}
    assert {"configuration", "store", "hub", "node", "gpus"} <= parts
    assert parts.isdisjoint({"login", "mail"})


def test_every_option_is_described_in_a_sentence() -> None:
    for path, each in commands(typer.main.get_command(build())):
        for option in each.params:
            help_text = getattr(option, "help", "")
            assert help_text, (path, option.name)
            assert help_text.endswith((".", "exit.")), (path, option.name, help_text)


def test_the_commands_of_the_contract_exist() -> None:
    found = {" ".join(path) for path, _ in commands(typer.main.get_command(build()))}
    wanted = "up demo agent collect ingest rollup reconcile findings sql backup restore check config".split()  # noqa: SIM905
    assert {*wanted, "report weekly", "export focus"} <= found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sqll"], "No such command 'sqll'"),
        (["sql"], "Missing argument 'QUERY'"),
        (["rollup", "--since", "yesterday"], "found 'yesterday', expected an instant"),
        (["--log-level", "loud", "config"], "found 'loud', expected debug"),
        (["ingest", "nothing.csv", "--format", "pdf"], "found 'pdf', expected one of"),
        (["sql", "DELETE FROM job"], "expected one SELECT"),
        (["up", "--port", "99999"], "less than or equal to 65535"),
        (["token", "revoke", "ghost"], "found no valid token of node ghost"),
    ],
)
def test_bad_input_is_one_line_with_a_hint_and_code_two(command: Command, arguments: list[str], message: str) -> None:
    ended = command(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert message in ended.err
    lines = ended.err.strip().splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["error", "hint"]


def test_a_wrong_key_of_the_configuration_stops_every_command(command: Command, home: Path) -> None:
    (home / "clusterledger.toml").write_text("[store]\nkeep_raw_days = 0\n", encoding="utf-8")
    ended = command("reconcile")
    assert ended.code == 2
    assert ended.err.startswith("error: clusterledger.toml: store.keep_raw_days: found 0, expected 1 or more\n")


def test_sql_prints_a_table_a_list_of_objects_and_csv(command: Command) -> None:
    query = "SELECT 1 AS one, 'x' AS letter, 0.1::DECIMAL(38,18) AS money"
    assert command("sql", query).out.splitlines()[-1].split() == ["1", "x", "0.1"]
    assert json.loads(command("sql", query, "--format", "json").out) == [{"one": 1, "letter": "x", "money": "0.1"}]
    assert list(csv.reader(io.StringIO(command("sql", query, "--format", "csv").out)))[1] == ["1", "x", "0.1"]


def test_a_bill_is_imported_once(command: Command, home: Path) -> None:
    (home / "october.csv").write_text(BILL.format(cost="12.340000000000000001"), encoding="utf-8")
    first = json.loads(command("ingest", "october.csv", "--json").out)["files"][0]
    assert (first["format"], first["rows"], first["rejected"]) == ("focus", 1, 0)
    assert first["billed_cost"] == first["effective_cost"] == {"USD": "12.340000000000000001"}
    again = command("ingest", "october.csv", "--json")
    assert again.code == 0
    assert json.loads(again.out)["files"][0]["is_unchanged"]
    count = "SELECT (SELECT count(*) FROM focus_charge) AS charges, (SELECT count(*) FROM bill_import) AS imports"
    assert json.loads(command("sql", count, "--format", "json").out) == [{"charges": 1, "imports": 1}]


def test_a_bad_file_is_one_line_and_the_others_are_kept(command: Command, home: Path) -> None:
    (home / "good.csv").write_text(BILL.format(cost="1"), encoding="utf-8")
    (home / "empty.csv").write_text("", encoding="utf-8")
    (home / "letter.txt").write_text("Dear Sir,\n", encoding="utf-8")
    ended = command("ingest", "empty.csv", "good.csv", "letter.txt", "absent.csv", "--json")
    assert ended.code == 2
    files = json.loads(ended.out)["files"]
    assert [each["path"] for each in files] == ["empty.csv", "good.csv", "letter.txt", "absent.csv"]
    assert [bool(each.get("error")) for each in files] == [True, False, True, True]
    assert [line for line in ended.err.splitlines() if line.startswith("error: ")] == [
        f"error: {each['error']}" for each in files if each.get("error")
    ]


def test_a_smaller_bill_waits_for_accept(command: Command, home: Path) -> None:
    bill = home / "october.csv"
    bill.write_text(BILL.format(cost="100"), encoding="utf-8")
    command("ingest", "october.csv")
    bill.write_text(BILL.format(cost="10"), encoding="utf-8")
    waiting = command("ingest", "october.csv")
    assert waiting.code == 2
    assert "--accept" in waiting.err
    current = "SELECT billed_cost FROM bill_import WHERE status = 'current'"
    assert json.loads(command("sql", current, "--format", "json").out) == [{"billed_cost": "100"}]
    assert command("ingest", "october.csv", "--accept").code == 0
    assert json.loads(command("sql", current, "--format", "json").out) == [{"billed_cost": "10"}]


def test_a_scheduler_dump_is_detected(command: Command, home: Path) -> None:
    head = "JobID|JobIDRaw|Cluster|User|Account|Partition|JobName|Submit|Start|End|State|ExitCode|AllocTRES|NodeList"
    times = "2026-11-01T10:00:00Z|2026-11-01T10:01:00Z|2026-11-01T11:00:00Z"
    row = f"7|7|c|ann|lab|gpu|train|{times}|COMPLETED|0:0|gres/gpu=2|n1"
    (home / "sacct.txt").write_text(f"{head}\n{row}\n7|broken\n", encoding="utf-8")
    found = json.loads(command("ingest", "sacct.txt", "--json").out)["files"][0]
    assert (found["format"], found["rows"], found["rejected"]) == ("sacct", 1, 1)
    command("ingest", "sacct.txt")
    kept = "SELECT (SELECT count(*) FROM job) AS jobs, (SELECT count(*) FROM rejected_row) AS refused"
    assert json.loads(command("sql", kept, "--format", "json").out) == [{"jobs": 1, "refused": 1}]


def test_a_backup_is_put_back(command: Command, home: Path) -> None:
    command("token", "create", "n1")
    assert command("backup", "copy.duckdb").code == 0
    command("token", "create", "n2")
    assert command("restore", "copy.duckdb").code == 0
    assert [each["node"] for each in json.loads(command("token", "list", "--json").out)] == ["n1"]
    assert command("backup", "copy.duckdb").code == 2
    (home / "letter.txt").write_text("Dear Sir,\n", encoding="utf-8")
    assert command("restore", "letter.txt").code in {1, 2}
    assert [each["node"] for each in json.loads(command("token", "list", "--json").out)] == ["n1"]


def test_a_token_is_shown_once_and_stored_hashed(command: Command) -> None:
    made = json.loads(command("token", "create", "n1", "--json").out)
    listed = json.loads(command("token", "list", "--json").out)
    assert made["token"] not in json.dumps(listed)
    assert made["token"] not in command("sql", "SELECT * FROM agent_token", "--format", "csv").out
    revoked = json.loads(command("token", "revoke", "n1", "--json").out)
    assert revoked[0]["revoked_at"] is not None


def test_config_tells_every_key_with_its_meaning(command: Command) -> None:
    found = json.loads(command("config", "--json").out)
    assert all(each["meaning"] for each in found)
    keys = {each["key"]: each for each in found}
    assert keys["store.keep_raw_days"]["default"] == "14"
    assert keys["store.keep_raw_days"]["range"] == "whole number, 1 to 3650"
    assert keys["mail.password"]["range"] == "secret"
    assert {"report.recipients[].address", "teams[].field"} <= set(keys)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[hub]\nprot = 1\n", ["hub.prot: found an unknown key; did you mean port?"]),
        ("[collectors.nvlm]\n", ["collectors.nvlm: found an unknown section; did you mean nvml?"]),
        ('[sources.x]\nkind = "slrum"\n', ["sources.x.kind: found 'slrum'; did you mean slurm?"]),
        (
            "[rules.idle_gpu]\nwindow_day = 1\n[collectors.host]\nenabld = false\n",
            ["rules.idle_gpu.window_day: found an unknown key", "collectors.host.enabld: found an unknown key"],
        ),
    ],
)
def test_config_says_what_is_wrong_and_still_tells_every_key(
    command: Command, home: Path, text: str, words: list[str]
) -> None:
    (home / "clusterledger.toml").write_text(text, encoding="utf-8")
    said = command("config", "--json")
    assert said.code == 2
    assert "store.keep_raw_days" in {each["key"] for each in json.loads(said.out)}
    assert all(each in said.err for each in words), said.err
    assert said.err.startswith("error: clusterledger.toml: ")
    assert "the keys above" in said.err
    assert "Traceback" not in said.err


def test_check_says_what_works_and_what_to_do(command: Command, home: Path) -> None:
    found = json.loads(command("check", "--json").out)
    assert {"configuration", "store", "hub", "mail", "node"} <= {each["part"] for each in found}
    assert not (home / "clusterledger.duckdb").exists()
    (home / "clusterledger.toml").write_text("[collectors.nvmll]\nenabled = false\n", encoding="utf-8")
    ended = command("check")
    assert ended.code == 1
    assert "collectors.nvmll: found an unknown section; did you mean nvml?" in ended.out


def test_check_asks_the_controller_as_the_agent_does(command: Command, home: Path) -> None:
    """A device that may be opened says nothing of what the controller lets its caller ask."""
    (home / "dev").mkdir()
    (home / "dev/ipmi0").touch()
    tool = home / "dcmi"
    section = f'[collectors.ipmi]\npower_command = ["{tool}"]\nsensor_command = []\n'
    (home / "clusterledger.toml").write_text(f'[agent]\nroot = "{home}"\n{section}', encoding="utf-8")
    found = []
    for said in (
        "DCMI request failed because: Insufficient privilege level (d4)' >&2; exit '1",
        "Current Power : 9 Watts",
    ):
        tool.write_text(f"#!/bin/sh\necho '{said}'\n", encoding="utf-8")
        tool.chmod(0o755)
        lines = json.loads(command("check", "--json").out)
        found += [each for each in lines if each["part"] == "controller"]
    refused, told = found
    assert refused["status"] == "missing"
    assert "permission is missing (DCMI request failed because: Insufficient privilege level (d4))" in refused["found"]
    assert "sudo -n" in refused["found"]
    assert (told["status"], told["found"]) == ("ok", "it tells 1 reading of the node's draw, heat and fans")


def test_collect_prints_rows_and_how_each_collector_fared(command: Command) -> None:
    ended = command("collect", "--only", "host", "--json")
    found = json.loads(ended.out)
    assert ended.code == 0
    assert [run["collector"] for run in found["runs"]] == ["host"]
    assert found["runs"][0].keys() == {"collector", "ok", "rows", "duration_seconds", "error"}
    assert found["tables"]["host_sample"][0]["node"]
    assert command("collect", "--only", "hosst").code == 2


def test_a_store_that_cannot_be_made_is_one_line(command: Command, home: Path) -> None:
    ended = command("sql", "SELECT 1", "--store", f"duckdb:{home / 'absent' / 'x.duckdb'}")
    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err


def test_an_export_has_the_columns_of_split_costs(command: Command, home: Path) -> None:
    (home / "october.csv").write_text(BILL.format(cost="12.5"), encoding="utf-8")
    command("ingest", "october.csv")
    command("rollup")
    assert command("export", "focus", "--out", "out.csv").code == 0
    rows = list(csv.DictReader(io.StringIO((home / "out.csv").read_text(encoding="utf-8"))))
    assert sum(float(row["BilledCost"]) for row in rows) == 12.5
    assert {"AllocatedMethodId", "AllocatedResourceId", "AllocatedTags", "x_Bucket"} <= set(rows[0])
    assert command("export", "focus", "--out", "out.parquet").code == 0
    assert command("export", "focus", "--out", "out.pdf").code == 2
    assert command("export", "focus", "--out", "absent/out.csv").code == 2


def test_commands_of_a_node_need_nothing_of_what_a_hub_needs(home: Path) -> None:
    heavy = (
        "{'polars', 'dataframely', 'duckdb', 'pyarrow', 'streamlit', 'rich.progress', 'ledger.tables', 'ledger.store'}"
    )
    code = (
        "import sys\n"
        "from app import cli\n"
        "for arguments in (['collect', '--only', 'host', '--json'], ['config', '--help'], ['agent', '--help']):\n"
        "    try: cli.main(arguments)\n"
        "    except SystemExit as ended: assert ended.code == 0\n"
        f"found = {heavy} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("option", ["--procfs", "--sysfs"])
def test_a_folder_that_is_not_there_is_no_node_without_devices(command: Command, option: str) -> None:
    refused = command("collect", option, "/nothere")
    assert refused.code == 2
    assert option in refused.err
    assert "/nothere" in refused.err


def test_check_says_how_the_agent_of_this_node_stands(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = home / "spool.db"
    monkeypatch.setenv("CLUSTERLEDGER_AGENT__SPOOL", str(spool))
    assert {"agent", "refused batches"}.isdisjoint(each["part"] for each in json.loads(command("check", "--json").out))

    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    Noted(spool, lambda: now).refused(401, "token: found none that is valid", "make another one")
    put_aside(spool, Sealed("b", {"t": [{"n": 1}, {"n": 2}]}), 422, "found table t", now)
    ended = command("check")
    assert ended.code == 1
    assert f"failed   agent: refused since {now.isoformat()}: HTTP 401: token: found none that is valid" in ended.out
    assert "hint: make another one" in ended.out
    assert "1 batch, 2 rows; the last at 2026-11-20T12:00:00+00:00: found table t" in ended.out

    Noted(spool, lambda: now).waits("ConnectionRefusedError: [Errno 111] Connection refused")
    told = f"failed   agent: the hub takes nothing since {now.isoformat()}: ConnectionRefusedError"
    assert told in command("check").out

    Noted(spool, lambda: now).taken()
    found = {each["part"]: each["status"] for each in json.loads(command("check", "--json").out)}
    assert (found["agent"], found["refused batches"]) == ("ok", "failed")


def test_refused_batches_are_sent_again_by_the_command_that_check_names(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, now = home / "spool.db", datetime(2026, 11, 20, 12, tzinfo=UTC)
    hub = Hub(refuses="unknown")
    hub.start()
    for name, value in {"SPOOL": spool, "HUB": f"http://127.0.0.1:{hub.port}", "NODE": "n1"}.items():
        monkeypatch.setenv(f"CLUSTERLEDGER_AGENT__{name}", str(value))
    ended = command("agent", "--send-refused")
    assert (ended.code, ended.out, ended.err) == (0, "", "no refused batch is kept here\n")

    for name, table in (("a", "t"), ("b", "unknown")):
        put_aside(spool, Sealed(name, {table: [{"n": 1}, {"n": 2}]}), 422, "found table t", now)
    (told,) = [each for each in json.loads(command("check", "--json").out) if each["part"] == "refused batches"]
    assert "`clusterledger agent --send-refused`" in told["hint"]
    ended = command("agent", "--send-refused")
    assert (ended.code, ended.err) == (1, "error: 1 batch refused again: HTTP 422: because\n")
    assert [line.split() for line in ended.out.splitlines()[2:]] == [
        ["taken", "1", "2"],
        ["refused", "again", "1", "2"],
    ]

    hub.stop()
    ended = command("agent", "--send-refused")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"error: http://127.0.0.1:{hub.port}: ConnectionRefusedError")
    assert ended.err.endswith("\n  hint: is the hub up, and the address right?\n")
    assert command("agent", "--once", "--send-refused").code == 2
