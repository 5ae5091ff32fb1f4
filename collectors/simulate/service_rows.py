"""Samples of what nodes ask of servers: their TCP, and the operations of the shared file system, once a minute."""

from typing import Final

import numpy as np
import polars as pl

from collectors.simulate.frames import Column, frame, noise
from collectors.simulate.node_rows import READ_SECONDS, Moments
from collectors.simulate.surroundings import Surroundings
from ledger.tables import LustreOperationSample, TcpSample

_MIB: Final = 2**20
_SEGMENT: Final = 1_448.0
_LOST: Final = 2.0e-5
"""Segments that are sent again, of all: of a sound network."""

_WRITE_SECONDS: Final = 0.0011
_OPEN_SECONDS: Final = 0.0004
_OPENED_BYTES: Final = 64 * _MIB
"""A file is opened for so many bytes that are read."""


def tcp_rows(around: Surroundings, when: Moments) -> pl.DataFrame:
    """Return each node's TCP over its ordinary port."""
    sent = np.floor(around.total("office", when.place, when.at) / _SEGMENT)
    none = np.zeros(len(when.at))
    data: dict[str, Column] = {
        **when.identity, "established_count": 40 + np.rint(20 * noise(when.node, when.at, 61)).astype(np.int64),
        "sent_segment_count_total": sent, "received_segment_count_total": np.floor(1.4 * sent),
        "retransmitted_segment_count_total": np.floor(_LOST * sent), "timeout_count_total": np.floor(_LOST / 9 * sent),
        "received_reset_count_total": np.floor(_LOST / 40 * sent), "listen_drop_count_total": none,
        "backlog_drop_count_total": none, "receive_queue_drop_count_total": none, "memory_abort_count_total": none,
    }  # fmt: skip
    return frame(TcpSample, data, len(when.at))


def lustre_rows(around: Surroundings, when: Moments) -> pl.DataFrame:
    """Return what each node's mount of the shared file system did, by operation."""
    read = around.total("read", when.place, when.at).astype(float)
    written = around.total("written", when.place, when.at).astype(float)
    reads, writes, opens = np.floor(read / _MIB), np.floor(written / _MIB), np.floor(read / _OPENED_BYTES)
    operations: dict[str, dict[str, Column]] = {
        "read_bytes": {"operation_count_total": reads, "bytes_total": read},
        "write_bytes": {"operation_count_total": writes, "bytes_total": written},
        "read": {"operation_count_total": reads, "operation_seconds_total": reads * READ_SECONDS},
        "write": {"operation_count_total": writes, "operation_seconds_total": writes * _WRITE_SECONDS},
        "open": {"operation_count_total": opens, "operation_seconds_total": opens * _OPEN_SECONDS},
        "close": {"operation_count_total": opens, "operation_seconds_total": opens * _OPEN_SECONDS / 4},
    }
    mount: dict[str, Column] = {"component": "llite", "target": "scratch", "instance": "ffff9a5e40d83000"}
    parts = [
        frame(LustreOperationSample, {**when.identity, **mount, "operation": name, **values}, len(when.at))
        for name, values in operations.items()
    ]
    return pl.concat(parts)
