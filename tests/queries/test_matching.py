from datetime import UTC, datetime
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from ledger import config
from ledger.tables import FocusCharge, Node, NodeResource
from queries.matching import node_resources
from tests.bills import MONTH, at, charge, node, rows


def links(
    nodes: list[dict[str, Any]], charges: list[dict[str, Any]], *configured: config.NodeResource
) -> dy.DataFrame[NodeResource]:
    return node_resources(rows(Node, nodes), rows(FocusCharge, charges), configured)


@pytest.mark.parametrize(
    ("instance", "resource"),
    [
        ("i-0abc", "i-0abc"),
        ("i-0abc", "arn:aws:ec2:us-east-1:1:instance/I-0ABC"),
        ("aws:///us-east-1a/i-0abc", "i-0abc"),
        ("123", "//compute.googleapis.com/projects/p/zones/z/instances/123"),
        ("/subscriptions/S/virtualMachines/gpu-1", "/SUBSCRIPTIONS/s/virtualmachines/GPU-1"),
    ],
)
def test_an_instance_id_matches_whole_or_by_its_last_part(instance: str, resource: str) -> None:
    made = links([node(provider_instance_id=instance)], [charge(ResourceId=resource)])
    assert made.select("node", "resource_id", "match_method").rows() == [("a1", resource.lower(), "instance_metadata")]


def test_what_the_scheduler_knows_is_told_apart() -> None:
    made = links([node(provider_instance_id="i-0abc", source="kubernetes")], [charge(ResourceId="i-0abc")])
    assert made["match_method"].to_list() == ["provider_id"]


def test_a_reused_name_has_a_link_for_each_stay() -> None:
    stays = [node(end=at(5), provider_instance_id="i-1"), node(start=at(6), provider_instance_id="i-2")]
    made = links(stays, [charge(ResourceId="i-1"), charge(1, ResourceId="i-2")])
    assert made.select("resource_id", "valid_start", "valid_end").rows() == [
        ("i-1", MONTH, at(5)),
        ("i-2", at(6), None),
    ]


def test_another_provider_does_not_match() -> None:
    assert links([node(provider="GCP")], [charge(ResourceId="i-a1")]).is_empty()
    assert links([node(provider="aws")], [charge(ResourceId="i-a1")]).height == 1
    assert links([node(provider=None)], [charge(ResourceId="i-a1")]).height == 1


@pytest.mark.parametrize(
    "tags",
    ['{"Name": "A1"}', '{"user:node": "a1.example.org"}', '{"node": "i-a1"}', '{"kubernetes.io/hostname": "a1"}'],
)
def test_a_disk_is_linked_by_its_tag(tags: str) -> None:
    nodes = [node("a1.example.org" if "example" in tags else "a1", provider_instance_id="i-a1")]
    made = links(nodes, [charge(ResourceId="vol-1", Tags=tags)])
    assert made.select("resource_id", "match_method").rows() == [("vol-1", "tag")]


def test_the_surest_way_counts() -> None:
    nodes = [node("a1"), node("b2")]
    charges = [charge(ResourceId="i-a1", Tags='{"node": "b2"}')]
    assert links(nodes, charges).select("node", "match_method").rows() == [("a1", "instance_metadata")]
    stated = config.NodeResource(node="b2", resource="I-*", cluster="c", provider="aws")
    assert links(nodes, charges, stated).select("node", "match_method").rows() == [("b2", "stated")]


def test_a_pattern_links_each_node_with_the_resources_of_its_name() -> None:
    nodes = [node("gpu-1", provider_instance_id=None), node("gpu-10", provider_instance_id=None), node("login")]
    charges = [charge(index, ResourceId=each) for index, each in enumerate(("Disk-GPU-1-a", "disk-gpu-10-a", "disk-x"))]
    stated = config.NodeResource(node="gpu-*", resource="disk-{node}-*")
    made = links(nodes, charges, stated).select("node", "resource_id", "match_method")
    assert made.rows() == [
        ("gpu-1", "disk-gpu-1-a", "stated"),
        ("gpu-10", "disk-gpu-10-a", "stated"),
    ]
    assert links(nodes, charges, config.NodeResource(node="gpu-1", resource="disk-x", cluster="other")).is_empty()
    assert links(nodes, charges, config.NodeResource(node="gpu-1", resource="disk-x", provider="GCP")).is_empty()
    assert links(nodes, charges, config.NodeResource(node="gpu-1", resource="disk-x", provider="aws")).height == 1


@pytest.mark.parametrize("tags", [None, "no json", "[]", '{"node": ""}', '{"team": "a1"}'])
def test_tags_that_name_no_node_link_nothing(tags: str | None) -> None:
    assert links([node()], [charge(ResourceId="vol-1", Tags=tags)]).is_empty()


def test_nothing_matches_nothing() -> None:
    assert links([], []).is_empty()


def test_the_order_of_rows_does_not_matter() -> None:
    nodes = [node("a1"), node("b2"), node("a1", start=datetime(2026, 2, 1, tzinfo=UTC), end=MONTH)]
    charges = [charge(0, ResourceId="i-a1"), charge(1, ResourceId="vol-1", Tags='{"node": "b2"}')]
    made = links(nodes, charges)
    assert links(nodes[::-1], charges[::-1]).equals(made)
    assert isinstance(made, pl.DataFrame)
