"""Which nodes are which resources of the bills, looked up again when either changed."""

from typing import cast

import dataframely as dy
import polars as pl

from app.context import Context
from collectors.billing._snapshot import current_imports
from ledger.tables import BillImport, FocusCharge, Node, NodeResource
from queries.matching import node_resources

_NEEDED = tuple(FocusCharge.columns())
_RESOURCE = ["provider", "resource_id", "valid_start"]


def match(context: Context) -> int:
    """Keep the links between nodes and resources, and return how many are new.

    Links that somebody else stated, such as a simulation, stay.
    """
    store = context.store
    seen = tuple(
        (name, key, state.version_count)
        for name in ("node", "bill_import")
        for key, state in sorted(store.versions(name).items())
    )
    if context.matched == seen:
        return 0
    context.matched = seen
    nodes = store.read(Node)
    current = current_imports(store.read(BillImport))
    ids = sorted(current["import_id"].unique())
    if nodes.is_empty() or not ids:
        return 0
    charges = store.read(FocusCharge, columns=_NEEDED, where={"import_id": ids})
    found = pl.DataFrame(
        node_resources(
            cast("dy.DataFrame[Node]", nodes),
            cast("dy.DataFrame[FocusCharge]", charges),
            context.settings.node_resources,
        )
    )
    known = store.read(NodeResource)
    withdrawn = _withdrawn(known, found)
    standing = known.join(withdrawn, on=NodeResource.primary_key(), how="anti").filter(~_is_void())
    new = found.join(standing.select(_RESOURCE).unique(), on=_RESOURCE, how="anti")
    if new.is_empty() and withdrawn.is_empty():
        return 0
    context.changed({"node_resource"})
    # A link that is found again takes the place of its withdrawal.
    store.append(NodeResource, pl.concat([withdrawn, new]), source="matching")
    return new.height


def _is_void() -> pl.Expr:
    return (pl.col("valid_end") <= pl.col("valid_start")).fill_null(value=False)


def _withdrawn(known: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Return links that hold no longer, ended where they begin, so that the table keeps that they once stood.

    These are links that the configuration does not state any more, and others of a resource that it gives to
    somebody else: a person knows better than an id, a tag or a simulation.
    """
    by_hand = pl.col("match_method") == "stated"
    stated = found.filter(by_hand)
    key = NodeResource.primary_key()
    unsaid = known.filter(by_hand).join(stated, on=key, how="anti")
    others = known.join(stated.select("provider", "resource_id").unique(), on=["provider", "resource_id"], how="semi")
    overruled = others.filter(~by_hand)
    ended = pl.concat([unsaid, overruled]).filter(~_is_void())
    return ended.with_columns(pl.col("valid_start").alias("valid_end"))
