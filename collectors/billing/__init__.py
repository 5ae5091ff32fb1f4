"""Readers of bills, invoices and price lists, one file per format."""
