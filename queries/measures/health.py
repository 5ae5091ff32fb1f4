"""How busy the network and how full storage is, and how much of it all is seen, matched and accepted."""

from typing import Final

import polars as pl

from ledger.expressions import per
from queries.measure import Measure

_FULL: Final = 0.9

_USED: Final = pl.col("used_bytes") / pl.when(pl.col("capacity_bytes") > 0).then("capacity_bytes")

PEAK_RATIO: Final = Measure(
    "network_peak_ratio",
    "Busiest port",
    "Highest step against the line rate, in the busier direction.",
    ("network_ports",),
    "ratio",
    pl.col("peak_active_ratio").max(),
)
PORT_COUNT: Final = Measure(
    "port_count", "Ports", "Network ports that were seen.", ("network_ports",), "count", pl.len()
)
FAILING_PORT_COUNT: Final = Measure(
    "failing_port_count",
    "Ports with errors",
    "Ports with errors, discards or recoveries, or whose link went down.",
    ("network_ports",),
    "count",
    ((pl.col("error_count") > 0) | (pl.col("link_downed_count") > 0)).sum(),
)
USED_RATIO: Final = Measure(
    "storage_used_ratio",
    "Used",
    "Share of a file system that is in use; of several, the fullest.",
    ("storage_devices",),
    "ratio",
    _USED.max(),
)
FULL_COUNT: Final = Measure(
    "full_file_system_count",
    "Nearly full",
    "File systems with 90 % or more in use.",
    ("storage_devices",),
    "count",
    (_USED >= _FULL).sum(),
)
SILENT_COUNT: Final = Measure(
    "silent_file_system_count",
    "Did not answer",
    "File systems that hung at least once.",
    ("storage_devices",),
    "count",
    (pl.col("unresponsive_count") > 0).sum(),
)

SHORT_NODE_COUNT: Final = Measure(
    "short_network_node_count",
    "Short of ports",
    "Nodes that had fewer ports up than they should, or slower ones, in their last hour.",
    ("node_networks",),
    "count",
    pl.col("is_short_now").sum(),
)
LINKED_NODE_COUNT: Final = Measure(
    "linked_node_count",
    "Nodes with a known network",
    "Nodes of which it is known what their network should be.",
    ("node_networks",),
    "count",
    (pl.col("expected_port_count").is_not_null() | pl.col("expected_ethernet_port_count").is_not_null()).sum(),
)
CAPACITY_RATIO: Final = Measure(
    "network_capacity_ratio",
    "Capacity there",
    "What the ports that were up could have carried, of what those could that should be up.",
    ("node_networks",),
    "ratio",
    per(pl.col("capacity_bytes").sum(), pl.col("expected_capacity_bytes").sum()),
)
RETRANSMITTED_RATIO: Final = Measure(
    "tcp_retransmitted_ratio",
    "TCP sent again",
    "Segments that were sent again, of all that were sent.",
    ("node_networks",),
    "ratio",
    per(
        pl.col("tcp_retransmitted_segment_count").sum(),
        pl.sum_horizontal("tcp_sent_segment_count", "tcp_retransmitted_segment_count").sum(),
    ),
)
READ_SECONDS: Final = Measure(
    "mean_read_seconds",
    "Mean read",
    "Time of reads against their number, from call to result.",
    ("network_file_systems",),
    "seconds",
    per(
        pl.col("read_operation_seconds").sum(), pl.col("read_count").filter(pl.col("read_operation_seconds") >= 0).sum()
    ),
)
WRITE_SECONDS: Final = Measure(
    "mean_write_seconds",
    "Mean write",
    "Time of writes against their number, from call to result.",
    ("network_file_systems",),
    "seconds",
    per(
        pl.col("write_operation_seconds").sum(),
        pl.col("write_count").filter(pl.col("write_operation_seconds") >= 0).sum(),
    ),
)
METADATA_SECONDS: Final = Measure(
    "mean_metadata_seconds",
    "Mean of the rest",
    "Time of opening, listing, attributes and locks against their number.",
    ("network_file_systems",),
    "seconds",
    per(
        pl.col("metadata_operation_seconds").sum(),
        pl.col("metadata_count").filter(pl.col("metadata_operation_seconds") >= 0).sum(),
    ),
)

ATTRIBUTED_RATIO: Final = Measure(
    "attributed_ratio",
    "Owner known",
    "Time of processes on GPUs of which it is known which job they were, of all that was seen.",
    ("node_attribution",),
    "ratio",
    per(pl.col("process_seconds").sum() - pl.col("unattributed_seconds").sum(), pl.col("process_seconds").sum()),
)
CONFIDENCE_RATIO: Final = Measure(
    "attribution_confidence_ratio",
    "Confidence",
    "How far the sources can be trusted that told whose processes were, weighted by time.",
    ("node_attribution",),
    "ratio",
    per(pl.col("confidence_weight").sum(), pl.col("process_seconds").sum() - pl.col("unattributed_seconds").sum()).clip(
        upper_bound=1.0
    ),
)
INVISIBLE_RATIO: Final = Measure(
    "invisible_process_ratio",
    "Processes not seen",
    "Time of devices whose processes could not be listed, of all that was sampled.",
    ("node_attribution",),
    "ratio",
    per(pl.col("invisible_seconds").sum(), pl.col("observed_seconds").sum()),
)

COVERAGE_RATIO: Final = Measure(
    "coverage_ratio",
    "Coverage",
    "Share of existing GPU time that samples cover.",
    ("node_coverage", "freshness"),
    "ratio",
    per(pl.col("gpu_observed_seconds").sum(), pl.col("gpu_existed_seconds").sum()),
)
HOLDER_KNOWN_RATIO: Final = Measure(
    "allocation_coverage_ratio",
    "Holder known",
    "Share of existing GPU time of which it is known who held it, or that nobody did.",
    ("node_coverage",),
    "ratio",
    per(pl.col("gpu_held_known_seconds").sum(), pl.col("gpu_existed_seconds").sum()),
)
UNBILLED_GPU_HOURS: Final = Measure(
    "unbilled_gpu_hours",
    "Without a bill",
    "Existing GPU-hours that neither a bill nor an estimate covers. They are in no total.",
    ("unbilled",),
    "count",
    pl.col("gpu_hours").sum(),
)
INVOICE_COUNT: Final = Measure(
    "invoice_count", "Invoices", "Bills, each to be compared with its invoice.", ("reconciliation",), "count", pl.len()
)
DIFFERING_COUNT: Final = Measure(
    "differing_invoice_count",
    "Invoices that differ",
    "Bills whose charges differ from their invoice by more than rounding explains.",
    ("reconciliation",),
    "count",
    (pl.col("status") == "differs").sum(),
)
REFUSED_COUNT: Final = Measure(
    "refused_row_count",
    "Refused rows",
    "Rows that were refused at the door, each kept with its reason.",
    ("rejected_rows",),
    "count",
    pl.col("row_count").sum(),
)
