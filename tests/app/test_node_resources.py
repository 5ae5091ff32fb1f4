"""Links between nodes and resources of bills that a person states in `clusterledger.toml`."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ledger.store import Store
from ledger.tables import Node
from tests.app.conftest import Command
from tests.app.test_cli import BILL
from tests.bills import node, rows

HOUR = datetime(2026, 10, 5, tzinfo=UTC)
LINK = '[[node_resources]]\nnode = "{node}"\nresource = "i-*"\nprovider = "cloud"\n'


def inventory(path: Path) -> None:
    """Put two nodes into the store of the folder, whose instance ids no bill knows."""
    with Store.open(f"duckdb:{path}") as store:
        unknown = {"start": HOUR, "end": HOUR + timedelta(hours=1), "provider": "Cloud", "provider_instance_id": None}
        store.append(Node, rows(Node, [node("a1", **unknown), node("b2", **unknown)]), source="test")


def asked(command: Command, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(command("sql", query, "--format", "json").out)
    return found


def costs(command: Command) -> dict[str, str]:
    """Roll up and return what each node cost."""
    ended = command("rollup")
    assert ended.code == 0, ended.err
    found = asked(command, "SELECT node, sum(billed_cost) AS cost FROM cost_hour GROUP BY ALL")
    return {each["node"]: each["cost"] for each in found}


def test_a_stated_link_leads_a_charge_to_its_node_and_can_be_taken_back(command: Command, home: Path) -> None:
    inventory(home / "clusterledger.duckdb")
    (home / "bill.csv").write_text(BILL.format(cost="12"), encoding="utf-8")
    assert command("ingest", "bill.csv").code == 0
    assert costs(command) == {"": "12"}
    config = home / "clusterledger.toml"
    for name in ("a1", "b2"):
        config.write_text(LINK.format(node=name), encoding="utf-8")
        assert costs(command) == {name: "12"}
        links = asked(command, "SELECT node, match_method FROM node_resource WHERE valid_end > valid_start")
        assert links == [{"node": name, "match_method": "stated"}]
        (invoice,) = json.loads(command("reconcile", "--json").out)
        assert (invoice["charged"], invoice["allocated"]) == ("12", "12")
    config.unlink()
    assert costs(command) == {"": "12"}
    config.write_text(LINK.format(node="a1"), encoding="utf-8")
    assert costs(command) == {"a1": "12"}


def test_a_person_overrules_what_an_id_says(command: Command, home: Path) -> None:
    with Store.open(f"duckdb:{home / 'clusterledger.duckdb'}") as store:
        stay = {"start": HOUR, "end": HOUR + timedelta(hours=1), "provider": "Cloud"}
        by_id, other = node("a1", provider_instance_id="i-1", **stay), node("b2", provider_instance_id=None, **stay)
        store.append(Node, rows(Node, [by_id, other]), source="test")
    (home / "bill.csv").write_text(BILL.format(cost="12"), encoding="utf-8")
    assert command("ingest", "bill.csv").code == 0
    assert costs(command) == {"a1": "12"}
    (home / "clusterledger.toml").write_text(LINK.format(node="b2"), encoding="utf-8")
    assert costs(command) == {"b2": "12"}
    (home / "clusterledger.toml").unlink()
    assert costs(command) == {"a1": "12"}


def test_a_link_without_a_resource_is_refused_in_one_line(command: Command, home: Path) -> None:
    (home / "clusterledger.toml").write_text('[[node_resources]]\nnode = "a1"\n', encoding="utf-8")
    ended = command("rollup")
    assert ended.code != 0
    assert "node_resources" in ended.err
    assert "resource" in ended.err
    assert "Traceback" not in ended.err
