"""Who asked for what, who held which device, and in which state the scheduler saw a node."""

import dataframely as dy

from ledger.names import WORKLOAD_KINDS
from ledger.tables.columns import (
    count,
    counter,
    duration,
    flag,
    gauge,
    instant,
    key,
    key_count,
    key_day,
    key_instant,
    parts,
    ratio,
    text,
)
from ledger.tables.gpu import NodeSample
from ledger.tables.partition import Spanning, Timed, table


@table(
    "holding",
    Spanning(
        "submitted_at",
        "ended_at",
        watched=("user", "account", "team", "model", "workload_kind", "job_name", "labels", "comment", "started_at"),
    ),
    also=(Timed("submitted_at", "day"),),
)
class Job(dy.Schema):
    """One run of one job as the scheduler tells it; the latest record replaces earlier ones."""

    cluster = key("Cluster, or scheduler, that gave the id")
    job_id = key("The scheduler's id, array task included; ids recur")
    submitted_at = key_instant("When it was submitted; the start where the source has no submit time")
    restart_count = key_count("0 for the first run, then one more for each requeue")
    user = text("Who submitted it")
    account = text("Account or project it is charged to")
    team = text("Team, where the source names one")
    model = text("Model, where the source names one")
    workload_kind = text("training, inference, notebook, batch, or ''", among=WORKLOAD_KINDS)
    job_name = text("Its name")
    partition = text("Partition, queue or namespace")
    qos = text("Quality of service")
    state = text("The scheduler's word: PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, TIMEOUT, ...", nullable=False)
    pending_reason = text("Why it waits, or waited")
    eligible_at = instant("When it could have started")
    started_at = instant("When it started; null while it pends")
    ended_at = instant("When it ended; null while it runs")
    time_limit_seconds = duration("What it was given")
    exit_code = text("Exit code and signal, as code:signal")
    requested_gpu_count = parts("GPUs asked for; 0.46 where a share of one was asked for")
    requested_gpu_model = text("GPU model asked for")
    gpu_count = parts("GPUs it was given; null while it pends")
    cpu_count = count("Processors it was given")
    memory_bytes = gauge("Memory it was given", max=2**53)
    node_count = count("Nodes it was given")
    nodes = text("Their names, sorted, joined by commas")
    comment = text("The user's comment")
    labels = text("Labels and allow-listed environment as one JSON object of text")
    source = text("slurm, kubernetes, clustercockpit, alibaba, simulation", nullable=False)
    mean_kernel_active_ratio = ratio("Mean duty cycle over the job and its GPUs, where only that is known")
    mean_memory_used_bytes = gauge("Mean device memory summed over its GPUs, where only that is known", max=2**53)
    is_end_estimated = flag("It ended unseen: its end is the last instant at which it was told")


@table(
    "holding",
    Spanning("held_start", "held_end", watched=("requested_share_ratio",)),
    order=("cluster", "node", "gpu_uuid", "held_start"),
)
class JobGpu(dy.Schema):
    """One device, or slice, held by one run of a job from one instant to another."""

    cluster = key("Cluster of the node")
    node = key("Node name")
    gpu_uuid = key("NVML UUID of the GPU or slice")
    job_id = key("The job's id")
    submitted_at = key_instant("When the job was submitted")
    restart_count = key_count("The job's run")
    held_start = key_instant("Since when it is held")
    held_end = instant("Until when; null while it is held")
    requested_share_ratio = ratio("Share of the device that was asked for; null or 1 for the whole")
    source = text("prolog, cgroup, pod_resources, scheduler, environ, simulation")
    confidence_ratio = ratio("How far the source can be trusted")


@table("sample", Timed("sampled_at"), order=("cluster", "node", "gpu_uuid", "job_id", "container", "sampled_at"))
class GpuHolderSample(NodeSample):
    """One container that holds one GPU, or slice, at one instant, as its node is told, whether it uses it or not."""

    gpu_uuid = key("NVML UUID of the GPU or slice; the plugin's own id where it does not tell that")
    job_id = key("UID of the pod; NAMESPACE/NAME where the node does not know it")
    container = key("Container of the pod")
    namespace = text("Namespace of the pod")
    pod_name = text("Name of the pod")
    resource = text("What was asked for, such as nvidia.com/gpu or nvidia.com/mig-1g.10gb; the driver of a claim")
    replica_count = count("Replicas of a shared device that it holds; null for a device of its own")
    attribution_source = text("Who says so: pod_resources", nullable=False)
    attribution_confidence_ratio = ratio("How far the source can be trusted")


NODE_STATES = ("UP", "DOWN", "DRAINED", "DRAINING", "RESERVED", "QUOTA", "POWERED_DOWN", "UNKNOWN")


@table("holding", Spanning("state_start", "state_end", watched=("state", "reason")))
class NodeState(dy.Schema):
    """One node in one scheduler state from one instant to another."""

    cluster = key("Cluster of the node")
    node = key("Node name")
    state_start = key_instant("Since when")
    state_end = instant("Until when; null while it lasts")
    state = text("What the scheduler lets it do", nullable=False, among=NODE_STATES)
    reason = text("The operator's or the scheduler's reason")
    source = text("slurm, kubernetes, simulation")


@table("sample", Timed("sampled_at"), order=("cluster", "node", "endpoint", "sampled_at"))
class ServingSample(NodeSample):
    """One model server at one instant."""

    endpoint = key("Server the numbers come from")
    model = key("Model name that the server reports")
    job_id = text("Job or pod of the server; '' if unknown", nullable=False)
    prompt_token_count_total = counter("Prompt tokens processed")
    generated_token_count_total = counter("Tokens generated")
    request_count_total = counter("Requests finished")
    running_request_count = count("Requests under way")
    waiting_request_count = count("Requests in the queue")
    queue_seconds_total = counter("Time that requests waited before they were served")
    running_seconds_total = counter("Time that requests were served, after their wait")
    prefill_seconds_total = counter("Time requests spent in prefill")
    decode_seconds_total = counter("Time requests spent in decode")
    is_ready = flag("The server answers")


@table("sample", Timed("sampled_at"), order=("cluster", "node", "job_id", "run", "rank_index", "sampled_at"))
class TrainingSample(NodeSample):
    """One process of a training at one instant: how far it is."""

    job_id = key("Job or pod of the process; '' if unknown")
    run = key("Which training of the job, as it calls itself; '' for the only one")
    rank_index = key_count("Rank of the process among those that train together")
    started_at = key_instant("When it began to count: another start is another counter")
    model = text("Model, as the training calls it")
    is_job_seen = flag("The job is that of the process's cgroup; else the training claims it")
    step_count_total = counter("Steps taken; alike on all ranks", source="collectors.progress")
    sample_count_total = counter("Samples that this rank has trained on", source="collectors.progress")
    token_count_total = counter("Tokens that this rank has trained on", source="collectors.progress")


@table("rollup", Timed("day", "day"))
class TrainingDay(dy.Schema):
    """One UTC day of the trainings of one run of a job on one node: by how much they advanced."""

    day = key_day("The day")
    cluster = key("Cluster of the node")
    node = key("Node of the processes that told it")
    job_id = key("Job or pod of the processes; '' if unknown")
    submitted_at = key_instant("Submit time of the job: ids recur; 1970 for a job that held no device on the day")
    model = key("Model of the job, else as the training calls it; `unattributed` where nobody names one")
    trained_sample_count = count("Samples trained on, by all ranks; null where none is known to be of the day")
    trained_token_count = count("Tokens trained on, by all ranks; null where none is known to be of the day")
