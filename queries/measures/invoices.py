"""What bills charge, what of it is allocated, what is invoiced, and which imports count."""

from typing import Final

import polars as pl

from queries.measure import Amount, Measure

CHARGED: Final = Amount(
    "charged_cost",
    "Charged",
    "Sum of BilledCost of all charges of the bills, in scope or not.",
    ("reconciliation",),
    "charged",
)
INVOICED: Final = Amount(
    "invoiced_cost",
    "Invoiced",
    "Sum of the payable amounts that are known from invoices. Bills without an invoice are not in it.",
    ("reconciliation",),
    "invoiced",
)
COMPARED_COUNT: Final = Measure(
    "compared_invoice_count",
    "Compared",
    "Bills of which the invoice's amount is known from outside the bill.",
    ("reconciliation",),
    "count",
    pl.col("invoiced").is_not_null().sum(),
)
WAITING_COUNT: Final = Measure(
    "waiting_import_count",
    "Waiting for you",
    "Imports that are smaller than what they would replace, or change a closed period. Until one is accepted the "
    "earlier counts.",
    ("bill_imports",),
    "count",
    (pl.col("status") == "waiting").sum(),
)
COUNTING_COUNT: Final = Measure(
    "counting_import_count",
    "Bills that count",
    "Accounts and periods of imports whose charges are in the totals.",
    ("bill_imports",),
    "count",
    (pl.col("status") == "current").sum(),
)
