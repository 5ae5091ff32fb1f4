"""Formats of bills, invoices, price lists and owned hardware: one module, one `BillFormat`.

`read_bill` in `collectors.billing._read` reads a delivery into memory; `decide` in `collectors.billing._snapshot`
says which import of a bill counts.
"""
