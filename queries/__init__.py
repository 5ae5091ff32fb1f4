"""Stored rows to tables that answer questions."""
