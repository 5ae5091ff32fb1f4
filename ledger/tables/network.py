"""Network ports: samples, and hours computed from them."""

import dataframely as dy

from ledger.tables.columns import amount, count, counter, flag, gauge, key, key_instant, ratio, seconds, text
from ledger.tables.gpu import NodeSample
from ledger.tables.partition import EDGE, Timed, table


@table("sample", Timed("sampled_at", edge=EDGE), order=("cluster", "node", "device", "port", "sampled_at"))
class NetworkPortSample(NodeSample):
    """One network port at one instant."""

    device = key("Kernel name of the adapter, such as mlx5_0 or eth0")
    port = key("Port of the adapter; '1' where there is one")
    link_layer = text("InfiniBand or Ethernet")
    bond = text("Bond that an Ethernet port is a member of; '' for none")
    is_up = flag("The link is up")
    link_state = text("The kernel's own word for the state")
    line_rate_bytes_per_second = gauge("What the link can carry in one direction", max=1e13)
    transmit_bytes_total = counter("Bytes sent", source="port_xmit_data (4-byte words) or /proc/net/dev")
    receive_bytes_total = counter("Bytes received", source="port_rcv_data (4-byte words) or /proc/net/dev")
    transmit_packet_count_total = counter("Packets sent")
    receive_packet_count_total = counter("Packets received")
    transmit_wait_count_total = counter(
        "Ticks with data to send and no credit; the tick depends on the adapter", source="port_xmit_wait"
    )
    transmit_discard_count_total = counter("Packets dropped on the way out")
    receive_error_count_total = counter("Packets received with errors")
    symbol_error_count_total = counter("Symbol errors; saturates", source="symbol_error", width=16)
    link_downed_count_total = counter("Times the link went down; saturates", source="link_downed", width=8)
    link_error_recovery_count_total = counter(
        "Times the link recovered; saturates", source="link_error_recovery", width=8
    )
    congestion_notification_count_total = counter(
        "RoCE congestion notifications sent", source="hw_counters/np_cnp_sent"
    )
    congestion_handled_count_total = counter(
        "RoCE congestion notifications received and acted upon", source="hw_counters/rp_cnp_handled"
    )
    congestion_mark_count_total = counter(
        "Packets that came marked by a congested switch", source="hw_counters/np_ecn_marked_roce_packets"
    )
    out_of_sequence_count_total = counter("Packets that came out of order", source="hw_counters/out_of_sequence")
    sequence_error_count_total = counter(
        "Answers of the other side that a packet was missing", source="hw_counters/packet_seq_err"
    )
    acknowledgement_timeout_count_total = counter(
        "Times that no acknowledgement came", source="hw_counters/local_ack_timeout_err"
    )
    receiver_not_ready_count_total = counter(
        "Times that the other side had no buffer, after all retries", source="hw_counters/rnr_nak_retry_err"
    )
    retransmission_count_total = counter(
        "Packets sent again, as far as the adapter counts them", source="hw_counters/roce_adp_retrans"
    )
    slow_restart_count_total = counter("Times that sending began slowly again", source="hw_counters/roce_slow_restart")
    out_of_buffer_count_total = counter("Packets dropped for want of a buffer", source="hw_counters/out_of_buffer")
    transmit_constraint_error_count_total = counter("Packets that the port may not send; saturates", width=8)
    receive_constraint_error_count_total = counter("Packets that the port may not receive; saturates", width=8)
    receive_remote_error_count_total = counter("Packets that came marked as broken; saturates", width=16)
    receive_relay_error_count_total = counter("Packets that a switch could not forward; saturates", width=16)
    link_integrity_error_count_total = counter("Times that errors of the link passed a threshold; saturates", width=4)
    buffer_overrun_error_count_total = counter("Times that buffers overran for long; saturates", width=4)
    management_drop_count_total = counter("Management packets dropped; saturates", source="VL15_dropped", width=16)
    physical_state = text("The adapter's own word for the link, such as LinkUp or Polling")
    has_stopped_counter = flag("A narrow counter stands at its top and counts no more until it is reset")


@table("sample", Timed("sampled_at"), order=("cluster", "node", "sampled_at"))
class TcpSample(NodeSample):
    """One node's TCP at one instant."""

    established_count = count("Open connections")
    active_open_count_total = counter("Connections that this node asked for", source="Tcp.ActiveOpens")
    passive_open_count_total = counter("Connections that others asked for", source="Tcp.PassiveOpens")
    failed_open_count_total = counter("Connections that never opened", source="Tcp.AttemptFails")
    received_segment_count_total = counter("Segments received, also those with errors", source="Tcp.InSegs")
    sent_segment_count_total = counter("Segments sent, without those sent again", source="Tcp.OutSegs")
    retransmitted_segment_count_total = counter("Segments sent again", source="Tcp.RetransSegs")
    receive_error_count_total = counter("Segments received with errors", source="Tcp.InErrs")
    received_reset_count_total = counter("Open connections that were reset", source="Tcp.EstabResets")
    sent_reset_count_total = counter("Resets sent", source="Tcp.OutRsts")
    listen_overflow_count_total = counter(
        "Connections dropped because a listener's queue was full", source="TcpExt.ListenOverflows"
    )
    listen_drop_count_total = counter(
        "Connections that a listener dropped, overflows included", source="TcpExt.ListenDrops"
    )
    timeout_count_total = counter("Times that a sender waited in vain", source="TcpExt.TCPTimeouts")
    retransmitted_open_count_total = counter("Requests to open sent again", source="TcpExt.TCPSynRetrans")
    lost_retransmission_count_total = counter("Segments sent again and lost again", source="TcpExt.TCPLostRetransmit")
    backlog_drop_count_total = counter("Segments dropped: the socket was busy", source="TcpExt.TCPBacklogDrop")
    receive_queue_drop_count_total = counter("Segments dropped: the program did not read", source="TcpExt.TCPRcvQDrop")
    memory_abort_count_total = counter("Connections dropped for want of memory", source="TcpExt.TCPAbortOnMemory")


@table("rollup", Timed("hour_start"))
class NetworkHour(dy.Schema):
    """One clock hour of one network port."""

    hour_start = key_instant("Start of the hour")
    cluster = key("Cluster")
    node = key("Node name")
    device = key("Adapter")
    port = key("Port")
    link_layer = text("InfiniBand or Ethernet")
    bond = text("Bond that an Ethernet port is a member of; '' for none")
    line_rate_bytes_per_second = gauge("What the link can carry in one direction", max=1e13)
    transmit_bytes = amount("Bytes sent; null where nothing was measured")
    receive_bytes = amount("Bytes received; null where nothing was measured")
    peak_active_ratio = ratio("Busiest step against the line rate, in its busier direction")
    wait_count = count("Ticks with data to send and no credit")
    error_count = count("Errors, discards and recoveries")
    link_downed_count = count("Times the link went down")
    reset_count = count("Counter resets: nothing was added for these steps", nullable=False)
    observed_seconds = seconds("Time that steps cover")
    is_rdma = flag("The adapter carries RDMA: InfiniBand or RoCE, which bypasses the kernel's network devices")
    up_seconds = seconds("Of the observed time: the link was up at the end of the step", nullable=True)
    down_seconds = seconds("Of the observed time: it was not", nullable=True)
    lowest_line_rate_bytes_per_second = gauge("Slowest rate at which the link ran while it was up", max=1e13)
    capacity_bytes = amount("What the link could have carried in one direction: its rate while it was up")
    transmit_packet_count = count("Packets sent")
    receive_packet_count = count("Packets received")
    discard_count = count("Packets dropped on the way out")
    symbol_error_count = count("Symbol errors of the link")
    congestion_notification_count = count("RoCE congestion notifications sent")
    congestion_handled_count = count("RoCE congestion notifications received and acted upon")
    congestion_mark_count = count("Packets that came marked by a congested switch")
    out_of_sequence_count = count("Packets that came out of order, and answers that one was missing")
    acknowledgement_timeout_count = count("Times that no acknowledgement came")
    receiver_not_ready_count = count("Times that a receiver had no buffer, on either side")
    retransmission_count = count("Packets sent again, as far as the adapter counts them")
    has_stopped_counter = flag("A narrow counter stood at its top: what it should count is missing")


@table("rollup", Timed("hour_start"))
class NodeNetworkHour(dy.Schema):
    """One clock hour of one node's network: its RDMA and Ethernet ports against what it should have, and its TCP."""

    hour_start = key_instant("Start of the hour")
    cluster = key("Cluster")
    node = key("Node name")
    expected_port_count = count("RDMA ports that should be up; null where nobody says it")
    expected_line_rate_bytes_per_second = gauge("What each should carry; null where ports differ", max=1e13)
    expectation_source = text(
        "configured (the node's own row), or peers: most of at least three like nodes are so in this hour",
        among=("configured", "peers"),
    )
    port_count = count("RDMA ports that were seen")
    up_port_count = count("Of them, up for the whole hour")
    down_port_count = count("How many fewer were up than should be")
    degraded_port_count = count("How many of those that were up ran slower than they should")
    expected_capacity_bytes = amount("What the ports that should be up could have carried in one direction")
    capacity_bytes = amount("What those that were up could have carried; not more than what is expected")
    evidence = text("Which port was down, or ran at which of which rate; '' where nothing is amiss", nullable=False)
    expected_ethernet_port_count = count("Ethernet ports that should be up; null where nobody says it")
    expected_ethernet_line_rate_bytes_per_second = gauge("What each should carry; null where ports differ", max=1e13)
    ethernet_expectation_source = text(
        "configured and peers as above; bond: all members of a bond should be up, at the rate of its fastest",
        among=("configured", "peers", "bond"),
    )
    ethernet_port_count = count("Ethernet ports that were seen, those of adapters that carry RDMA as well among them")
    up_ethernet_port_count = count("Of them, up for the whole hour")
    down_ethernet_port_count = count("How many fewer were up than should be")
    degraded_ethernet_port_count = count("How many of those that were up ran slower than they should")
    tcp_sent_segment_count = count("TCP segments sent, without those sent again")
    tcp_retransmitted_segment_count = count("TCP segments sent again")
    tcp_timeout_count = count("Times that a TCP sender waited in vain")
    tcp_drop_count = count("Connections and segments dropped: queues were full, or memory was short")
    tcp_reset_count = count("Open TCP connections that were reset")
    observed_seconds = seconds("Longest time that steps of one port, or of TCP, cover")
