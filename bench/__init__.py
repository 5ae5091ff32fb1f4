"""Measurements: what is measured runs as the hub does."""

from ledger import memory

memory.settle()
