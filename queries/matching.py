"""Which resource of a bill is which node: links with validity.

A node's instance id (from its own metadata, or as the scheduler's provider id) is compared with the whole
resource id and with its last part, so that `aws:///us-east-1a/i-0abc`, `arn:aws:ec2:...:instance/i-0abc` and
`i-0abc` are one. Disks, addresses and transfer carry other ids: a tag with the node's name or instance id
links them, or the configuration does. Ids are case folded, since providers do not agree on case with themselves.
"""

from collections.abc import Sequence
from typing import Final

import dataframely as dy
import polars as pl

from ledger import money_sections
from ledger.tables import FocusCharge, Node, NodeResource
from queries.rollups._scope import tags_of

TAG_KEYS: Final = (
    "clusterledger_node",
    "clusterledger:node",
    "node",
    "hostname",
    "kubernetes.io/hostname",
    "node.kubernetes.io/name",
    "name",
)
"""Tags that name the node of a resource, case folded; a provider's prefix such as `user:` is left out."""

_PREFIXES: Final = ("user:", "resourcetags/user:", "aws:", "labels/")

# The surest way of matching a resource is the only one that counts.
_METHODS: Final = ("stated", "instance_metadata", "provider_id", "tag")

_SCHEDULERS: Final = ("slurm", "kubernetes")


def node_resources(
    nodes: dy.DataFrame[Node],
    charges: dy.DataFrame[FocusCharge],
    configured: Sequence[money_sections.NodeResource] = (),
    tag_keys: Sequence[str] = TAG_KEYS,
) -> dy.DataFrame[NodeResource]:
    """Return the links between nodes and the resources of bills; each holds while its node exists.

    Names are reused, so every stay of a node has links of its own. A node that states its provider is matched
    with that provider's charges only. Of several ways in which a resource matches, the surest counts.
    """
    resources = _resources(charges)
    found = pl.concat(
        [
            _by_configuration(nodes, resources, configured),
            _by_instance(nodes, resources),
            _by_tag(nodes, resources, charges, tag_keys),
        ]
    )
    rank = pl.col("match_method").replace_strict(_METHODS, range(len(_METHODS)), return_dtype=pl.Int8)
    resource = ["provider", "resource_id"]
    surest = found.with_columns(rank.alias("rank")).filter(pl.col("rank") == pl.col("rank").min().over(resource))
    links = surest.unique(["cluster", "node", *resource, "valid_start"], keep="first").drop("rank")
    return NodeResource.validate(links.sort(NodeResource.primary_key()), cast=True)


def _resources(charges: pl.DataFrame) -> pl.DataFrame:
    """Return the distinct resources of a bill with the forms of their ids that a node may know."""
    folded = pl.col("ResourceId").str.to_lowercase()
    return (
        charges.filter(folded.fill_null("") != "")
        .select(pl.col("ServiceProviderName").alias("provider"), folded.alias("resource_id"))
        .unique()
        .with_columns(_last_part("resource_id").alias("short_id"))
    )


def _last_part(column: str) -> pl.Expr:
    """Return what stands after the last slash or colon of an id; of a scale set's machine, its number with the set."""
    numbered = pl.col(column).str.extract(r"/([^/]+/virtualmachines/[0-9]+)$", 1)
    return pl.coalesce(numbered, pl.col(column).str.replace(r"^.*[/:]", ""))


def _stays(nodes: pl.DataFrame) -> pl.DataFrame:
    """Return each node's stays with the keys that it is matched by."""
    instance = pl.col("provider_instance_id").str.to_lowercase()
    by_scheduler = pl.col("source").is_in(list(_SCHEDULERS)).fill_null(value=False)
    return nodes.select(
        "cluster",
        "node",
        pl.col("provider").str.to_lowercase().alias("stay_provider"),
        instance.alias("instance"),
        pl.col("exists_start").alias("valid_start"),
        pl.col("exists_end").alias("valid_end"),
        pl.when(by_scheduler).then(pl.lit("provider_id")).otherwise(pl.lit("instance_metadata")).alias("match_method"),
    ).with_columns(_last_part("instance").alias("short_instance"))


def _linked(joined: pl.DataFrame) -> pl.DataFrame:
    """Keep matches within one provider, in the shape of links."""
    same = pl.col("stay_provider").is_null() | (pl.col("stay_provider") == pl.col("provider").str.to_lowercase())
    return joined.filter(same).select(
        "cluster", "node", "provider", "resource_id", "valid_start", "valid_end", "match_method"
    )


def _by_instance(nodes: pl.DataFrame, resources: pl.DataFrame) -> pl.DataFrame:
    """Match by the instance id, whole or its last part."""
    stays = _stays(nodes).filter(pl.col("short_instance").fill_null("") != "")
    return _linked(resources.join(stays, left_on="short_id", right_on="short_instance"))


def _by_configuration(
    nodes: pl.DataFrame, resources: pl.DataFrame, configured: Sequence[money_sections.NodeResource]
) -> pl.DataFrame:
    """Match by what a person stated."""
    stays = _stays(nodes).with_columns(pl.lit("stated").alias("match_method"))
    found = [_linked(resources.join(stays.clear(), how="cross"))]
    for each in configured:
        ours = _named_like(pl.col("node"), each.node)
        if each.cluster:
            ours &= pl.col("cluster") == each.cluster
        of_provider = pl.lit(value=True)
        if each.provider:
            of_provider = pl.col("provider").str.to_lowercase() == each.provider.lower()
        # A person who names the provider knows better than the node does.
        mine = stays.filter(ours).with_columns(pl.lit(None, dtype=pl.String).alias("stay_provider"))
        for (node,), one in mine.group_by("node", maintain_order=True):
            wanted = each.resource.replace("{node}", str(node)).lower()
            named = _named_like(pl.col("resource_id"), wanted)
            found.append(_linked(resources.filter(of_provider & named).join(one, how="cross")))
    return pl.concat(found)


def _named_like(name: pl.Expr, wanted: str) -> pl.Expr:
    """Tell whether a name is the wanted one, where a trailing * matches any rest."""
    return name.str.starts_with(wanted[:-1]) if wanted.endswith("*") else name == wanted


def _by_tag(
    nodes: pl.DataFrame, resources: pl.DataFrame, charges: pl.DataFrame, tag_keys: Sequence[str]
) -> pl.DataFrame:
    """Match by a tag whose value is a node's name, its first label, or its instance id."""
    texts = charges["Tags"].drop_nulls().unique().to_list()
    values = [(text, value) for text in texts for value in _named_by(text, tag_keys)]
    tags = pl.DataFrame(values, schema={"Tags": pl.String, "value": pl.String}, orient="row")
    tagged = (
        charges.select(
            pl.col("ServiceProviderName").alias("provider"),
            pl.col("ResourceId").str.to_lowercase().alias("resource_id"),
            "Tags",
        )
        .unique()
        .join(tags, on="Tags")
        .join(resources, on=["provider", "resource_id"])
        .select("provider", "resource_id", "value")
        .unique()
    )
    stays = _stays(nodes).with_columns(
        pl.lit("tag").alias("match_method"), pl.col("node").str.to_lowercase().alias("name")
    )
    names = [
        stays.with_columns(pl.col("name").alias("value")),
        stays.with_columns(pl.col("name").str.split(".").list.first().alias("value")),
        stays.with_columns(pl.col("short_instance").alias("value")),
    ]
    return _linked(tagged.join(pl.concat([each.drop("name") for each in names]), on="value")).unique()


def _named_by(text: str, tag_keys: Sequence[str]) -> set[str]:
    """Return the values of the tags that may name a node."""
    found = set()
    for key, value in tags_of(text).items():
        name = key.lower()
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        if name in tag_keys and value:
            found.add(value.lower())
    return found
