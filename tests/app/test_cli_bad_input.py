"""What the command line says about input that is partly or wholly wrong: where, found, expected, what to do."""

import json
import shlex
from pathlib import Path

import duckdb
import pytest

from tests.app.conftest import Command
from tests.app.test_cli import BILL

TWICE = "".join(BILL.format(cost="1").splitlines(keepends=True)[1:])


def test_refused_rows_are_named_and_good_ones_are_in(command: Command, home: Path) -> None:
    (home / "bill.csv").write_text(BILL.format(cost="lots") + TWICE, encoding="utf-8")
    ended = command("ingest", "bill.csv", "--json")
    assert ended.code == 0
    file = json.loads(ended.out)["files"][0]
    assert (file["rows"], file["rejected"]) == (1, 1)
    assert file["rejections"] == ["line 2, column BilledCost: found 'lots', expected a decimal number such as -12.50"]
    assert f"refused: bill.csv: {file['rejections'][0]}\n" in ended.err
    assert "hint: 1 row kept; correct the rest and import the file again" in ended.err


def test_what_was_refused_explains_a_bill_that_differs_from_its_file(command: Command, home: Path) -> None:
    bad = TWICE.replace("2026-10-05T00:00:00Z", "yesterday", 1)
    (home / "bill.csv").write_text(BILL.format(cost="1") + bad, encoding="utf-8")
    command("ingest", "bill.csv")
    command("rollup")
    ended = command("reconcile", "--json")
    row = json.loads(ended.out)[0]
    assert (row["status"], row["charged"], row["invoiced"]) == ("differs", "1", None)
    assert "no invoice: 1 row of bill.csv refused: see `rejected_row`" in ended.err


def test_rows_that_are_wrong_in_the_same_way_are_one_line(command: Command, home: Path) -> None:
    bad = "".join("".join(BILL.format(cost=f"{n} or so").splitlines(keepends=True)[1:]) for n in range(3_000))
    late = TWICE.replace("2026-10-05T01:00:00Z", "2026-10-04T01:00:00Z")
    (home / "bill.csv").write_text(BILL.format(cost="1") + late + bad, encoding="utf-8")
    ended = command("ingest", "bill.csv", "--json")
    lines = [line for line in ended.err.splitlines() if line.startswith("refused: ")]
    assert lines == [
        (
            "refused: bill.csv: 3000 rows, the first at line 4, column BilledCost: found '0 or so', "
            "expected a decimal number such as -12.50"
        ),
        (
            "refused: bill.csv: line 3, column ChargePeriodEnd: found '2026-10-04T01:00:00Z', "
            "expected ChargePeriodStart or later"
        ),
    ]
    file = json.loads(ended.out)["files"][0]
    assert (file["rows"], file["rejected"]) == (1, 3_001)
    assert [(each["row_count"], each["table_name"]) for each in file["faults"]] == [
        (3_000, "focus_charge"),
        (1, "focus_charge"),
    ]
    counted = "SELECT fault, count(*) AS n FROM rejected_row GROUP BY fault ORDER BY n"
    assert json.loads(command("sql", counted, "--format", "json").out) == [
        {"fault": "column ChargePeriodEnd: expected ChargePeriodStart or later", "n": 1},
        {"fault": "column BilledCost: expected a decimal number such as -12.50", "n": 3_000},
    ]


def test_a_bill_without_one_good_row_fails_and_the_earlier_one_counts(command: Command, home: Path) -> None:
    bill = home / "bill.csv"
    bill.write_text(BILL.format(cost="1"), encoding="utf-8")
    command("ingest", "bill.csv")
    bill.write_text(BILL.format(cost="lots"), encoding="utf-8")
    ended = command("ingest", "bill.csv")
    assert ended.code == 2
    assert "error: bill.csv: found no row that can be kept, expected at least one; line 2, column" in ended.err
    assert "Traceback" not in ended.err
    query = "SELECT status, billed_cost FROM bill_import"
    assert json.loads(command("sql", query, "--format", "json").out) == [{"status": "current", "billed_cost": "1"}]


def test_a_smaller_bill_is_one_line(command: Command, home: Path) -> None:
    bill = home / "bill.csv"
    bill.write_text(BILL.format(cost="100"), encoding="utf-8")
    command("ingest", "bill.csv")
    bill.write_text(BILL.format(cost="10"), encoding="utf-8")
    lines = [line for line in command("ingest", "bill.csv").err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "found billed_cost 10 USD" in lines[0]
    assert "; found effective_cost 10 USD" in lines[0]


def test_columns_that_a_bill_lacks_are_stated_in_the_configuration(command: Command, home: Path) -> None:
    text = BILL.format(cost="1").replace("BillingCurrency,", "").replace("USD,", "")
    (home / "bill.csv").write_text(text, encoding="utf-8")
    refused = command("ingest", "bill.csv")
    assert refused.code == 2
    assert "bill.csv: line 1: found no column BillingCurrency" in refused.err
    assert "[money.bill_defaults]" in refused.err
    (home / "clusterledger.toml").write_text('[money.bill_defaults]\nBillingCurrency = "EUR"\n', encoding="utf-8")
    file = json.loads(command("ingest", "bill.csv", "--json").out)["files"][0]
    assert file["billed_cost"] == {"EUR": "1"}


def test_a_store_that_fails_is_no_bad_file(command: Command, home: Path) -> None:
    (home / "bill.csv").write_text(BILL.format(cost="1"), encoding="utf-8")
    (home / "other.duckdb").write_text("no store " * 1_000, encoding="utf-8")
    ended = command("ingest", "bill.csv", "--store", "duckdb:other.duckdb")
    assert ended.code == 1
    assert "found another kind of file or a damaged one, expected a clusterledger store" in ended.err


def test_a_dump_that_is_imported_again_is_unchanged(command: Command, home: Path) -> None:
    head = "JobID|JobIDRaw|Cluster|User|Account|Partition|JobName|Submit|Start|End|State|ExitCode|AllocTRES|NodeList"
    times = "2026-11-01T10:00:00Z|2026-11-01T10:01:00Z|2026-11-01T11:00:00Z"
    row = f"7|7|c|ann|lab|gpu|train|{times}|COMPLETED|0:0|gres/gpu=2|n1"
    (home / "sacct.txt").write_text(f"{head}\n{row}\n", encoding="utf-8")
    first, again = (json.loads(command("ingest", "sacct.txt", "--json").out)["files"][0] for _ in range(2))
    assert (first["rows"], first["is_unchanged"]) == (1, False)
    assert (again["rows"], again["is_unchanged"]) == (1, True)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[rules.idle_gpuu]\nx = 1\n", "rules.idle_gpuu: found an unknown section; did you mean idle_gpu?"),
        ("[rules.idle_gpu]\nwindow_dais = 1\n", "rules.idle_gpu.window_dais: found an unknown key; did you mean"),
        ("[rules.idle_gpu]\nwindow_days = 0\n", "rules.idle_gpu.window_days: found 0, expected"),
    ],
)
def test_a_typo_in_a_units_section_stops_what_reads_it(command: Command, home: Path, text: str, found: str) -> None:
    (home / "clusterledger.toml").write_text(text, encoding="utf-8")
    for arguments in (("rollup",), ("demo", "--gpus", "8", "--days", "1"), ("up", "--port", "0")):
        ended = command(*arguments)
        assert ended.code == 2, arguments
        assert f"error: clusterledger.toml: {found}" in ended.err
        assert "hint: " in ended.err
    checked = command("check")
    assert checked.code == 1
    assert found in checked.out
    assert "ok       configuration" not in checked.out


def test_values_of_sql_that_json_does_not_know_are_text(command: Command) -> None:
    query = "SELECT TIME '01:02:03' AS a, TIMESTAMP '2026-01-01' AS b, DATE '2026-01-01' AS c"
    assert json.loads(command("sql", query, "--format", "json").out) == [
        {"a": "01:02:03", "b": "2026-01-01T00:00:00Z", "c": "2026-01-01"}
    ]


def test_an_address_that_is_none_is_refused_before_anything_is_collected(command: Command) -> None:
    ended = command("agent", "--once", "--hub", "nonsense")
    assert ended.code == 2
    assert "command line: agent.hub: found 'nonsense', expected text that matches" in ended.err


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "[collectors.nvml]\nenabeld = false\n",
            "collectors.nvml.enabeld: found an unknown key; did you mean enabled?",
        ),
        ("[collectors.nvmll]\n", "collectors.nvmll: found no such collector; did you mean nvml?"),
        (
            '[sources.p]\nkind = "serving"\nendpoints = []\n',
            "sources.p.endpoints: found [], expected 1 or more entries",
        ),
        ('[sources.p]\nkind = "promethus"\n', "sources.p.kind: found 'promethus'; did you mean prometheus?"),
    ],
)
def test_a_typo_in_a_section_of_what_collects_says_in_which_file(
    command: Command, home: Path, text: str, found: str
) -> None:
    (home / "clusterledger.toml").write_text(text, encoding="utf-8")
    ended = command("pull") if "sources" in text else command("collect", "--only", "host")
    assert (ended.code, ended.out) == (2, "")
    assert f"error: clusterledger.toml: {found}" in ended.err
    assert "hint: " in ended.err


@pytest.mark.parametrize(
    ("typed", "found", "shows"),
    [
        ("incident list --status nope", "incidents: status: found 'nope', expected 'all', 'open'", "incident list"),
        ("sql ''", "sql: query: found '', expected 1 or more characters", "sql"),
    ],
)
def test_a_hint_names_a_command_that_there_is(command: Command, typed: str, found: str, shows: str) -> None:
    ended = command(*shlex.split(typed))
    assert (ended.code, ended.out) == (2, "")
    assert f"error: {found}" in ended.err
    assert f"hint: `clusterledger {shows} --help`" in ended.err
    assert command(*shows.split(), "--help").code == 0


def test_a_configuration_that_is_a_folder_is_not_passed_over(command: Command, home: Path) -> None:
    (home / "clusterledger.toml").mkdir()
    ended = command("reconcile")
    assert (ended.code, ended.out) == (2, "")
    assert "error: clusterledger.toml: Is a directory, expected a file that can be read" in ended.err


def test_each_source_that_fails_says_which_one_it_is(command: Command, home: Path) -> None:
    closed = 'url = "http://127.0.0.1:1"\n'
    text = f'[sources.metrics]\nkind = "prometheus"\n{closed}[sources.pods]\nkind = "kubernetes"\n{closed}'
    (home / "clusterledger.toml").write_text(text, encoding="utf-8")
    ended = command("pull")
    assert ended.code == 1
    lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in lines] == ["sources.metrics", "sources.pods"]
    assert ended.err.count("hint: ") == 2


def test_a_store_that_is_none_says_where_and_what_to_do(command: Command, home: Path) -> None:
    with duckdb.connect(str(home / "other.duckdb")) as other:
        other.execute("CREATE TABLE job (x INTEGER)")
    for store, found in {
        "duckdb:.": "found a folder, expected a file",
        "duckdb:other.duckdb": "found a database with other tables, expected a clusterledger store",
        "duckdb:nowhere/x.duckdb": "found no folder for it, expected an existing one",
    }.items():
        ended = command("reconcile", "--store", store)
        assert (ended.code, ended.out) == (1, "")
        assert f"error: store {store}: {found}" in ended.err
        assert "hint: " in ended.err


@pytest.mark.parametrize("name", ["rollup", "pull", "export focus --out x.csv"])
def test_an_instant_that_is_none_is_refused_with_its_option(command: Command, name: str) -> None:
    ended = command(*name.split(), "--since", "yesterday")
    assert (ended.code, ended.out) == (2, "")
    assert "--since: found 'yesterday', expected an instant such as 2026-11-20" in ended.err
