"""Which nodes are which resources of the bills, looked up again when either changed."""

from typing import cast

import dataframely as dy
import polars as pl

from app.context import Context
from collectors.billing._snapshot import current_imports
from ledger.tables import BillImport, FocusCharge, Node, NodeResource
from queries.matching import node_resources

_NEEDED = tuple(FocusCharge.columns())


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
    found = node_resources(cast("dy.DataFrame[Node]", nodes), cast("dy.DataFrame[FocusCharge]", charges))
    known = store.read(NodeResource).select("provider", "resource_id", "valid_start").unique()
    new = pl.DataFrame(found).join(known, on=["provider", "resource_id", "valid_start"], how="anti")
    if new.is_empty():
        return 0
    context.changed({"node_resource"})
    return store.append(NodeResource, new, source="matching").rows
