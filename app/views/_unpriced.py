"""Usage without a cost: no rate is known for it in its currency, so that it is in no total."""

import streamlit as st

from app import controls, table
from app.table import Column


def unpriced() -> None:
    """Show which usage has no price and why; where there is none, say nothing."""
    rows = controls.answer("unpriced_usage")
    if rows.is_empty():
        return
    st.subheader("Usage without a price", anchor=False)
    table.show(
        rows,
        {
            "provider": Column("Provider"),
            "sku": Column("SKU"),
            "quantity": Column("Quantity", "decimal"),
            "unit": Column("Unit"),
            "billing_currency": Column("Currency", help="In which it is billed: a rate in another one is not used."),
            "reason": Column("Why"),
            "charge_count": Column("Charges", "count"),
            "first_start": Column("From", "instant"),
            "last_end": Column("To", "instant"),
        },
        key="unpriced",
        file_name="unpriced-usage",
    )
    st.caption("Its cost is unknown, not 0, and in no total. Add a rate in its currency under `[[money.rate_cards]]`.")
