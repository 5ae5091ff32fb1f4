"""Texts that a spool's file keeps over restarts, each with a checksum: one that a disk has changed is forgotten."""

import sqlite3
from collections.abc import Iterable
from zlib import crc32

SCHEMA = "CREATE TABLE IF NOT EXISTS memory (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER);"


def recalled(connection: sqlite3.Connection, prefix: str, *, is_whole: bool = False) -> list[tuple[str, str]]:
    """Return the texts whose keys begin so, or the one whose key is this, by key.

    What an earlier release wrote has no checksum.
    """
    found = connection.execute(
        "SELECT key, value, checksum FROM memory WHERE substr(key, 1, ?) = ? ORDER BY key", (len(prefix), prefix)
    )
    return [
        (key, value)
        for key, value, checksum in whole(found)
        if checksum is None or checksum == _sum(key, value)
        if key == prefix or not is_whole
    ]


def remember(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Keep a text."""
    connection.execute("INSERT OR REPLACE INTO memory VALUES (?, ?, ?)", (key, value, _sum(key, value)))


def whole(rows: Iterable[tuple[object, object, object]]) -> list[tuple[str, str, object]]:
    """Return the rows that are of the right kind at least."""
    return [(key, value, checksum) for key, value, checksum in rows if isinstance(key, str) and isinstance(value, str)]


def _sum(key: str, value: str) -> int:
    return crc32(f"{key}\n{value}".encode())
