"""What volumes, buckets and file systems cost, and whose they are."""

import streamlit as st

from app import controls, data, table
from app.table import Column
from queries import measure
from queries.measures import spending

_OWNED = spending.STORAGE_OWNED


def costs() -> None:
    """Show storage that belongs to no node by its cost, and what to do where nobody is known to own it."""
    found = controls.answer("storage_costs")
    if found.is_empty():
        st.caption("No bill in this window has storage that belongs to no node. Disks of nodes are in their cost.")
        return
    by = ("provider", "service_name", "resource_id", "billing_currency")
    table.show(
        data.once(measure.with_each, found, by, _OWNED),
        {
            "resource_id": Column("Resource"),
            "service_name": Column("Service"),
            "effective_cost": Column("Cost", "money", _OWNED.whole.means),
            "billing_currency": Column("Currency"),
            _OWNED.name: Column(_OWNED.title, "percent", _OWNED.means),
            "teams": Column("Teams"),
            "provider": Column("Provider"),
        },
        key="storage-costs",
        file_name="storage-costs",
    )
    controls.say_days("What storage cost")
    if any(each < 1 for each in data.once(measure.parts, found, _OWNED).values()):
        st.caption(
            "Of what has no owner: name the team under `[[money.owners]]`; or divide it by bytes read and written, "
            'with `storage = "direct"` under `[money.shared_cost_rules]`. Where nodes mount a file system under '
            "another name than the bill has, state which it is under `[[money.file_systems]]`."
        )
