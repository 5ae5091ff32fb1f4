"""Every table of the ledger; importing this registers them all."""

from ledger.tables.billing import BillImport, FocusCharge, Invoice
from ledger.tables.bottlenecks import BottleneckHour, BottleneckMinute
from ledger.tables.costs import (
    AllocationHour,
    CostHour,
    Finding,
    FindingDecision,
    ForecastDay,
    ModelCostDay,
    Reconciliation,
    UnbilledHour,
)
from ledger.tables.gpu import GpuEvent, GpuHealthSample, GpuProcessRun, GpuProcessSample, GpuSample, NodeEvent
from ledger.tables.gpu_time import AttributionHour, CoverageDay, GpuHour, GpuMinute, GpuStateInterval, NodeMinute
from ledger.tables.host import CollectorRun, HostSample, JobCgroupSample, NumaSample, PressureSample
from ledger.tables.incidents import IdleIncident, IncidentDecision, IncidentExemption, IncidentNotice
from ledger.tables.inventory import Asset, Budget, ExchangeRate, Gpu, Model, Node, NodeResource, Price, Team
from ledger.tables.job_time import JobGpuHour, JobHour, JobUsage
from ledger.tables.jobs import GpuHolderSample, Job, JobGpu, NodeState, ServingSample, TrainingSample
from ledger.tables.network import NetworkHour, NetworkPortSample, NodeNetworkHour, TcpSample
from ledger.tables.operation import (
    AgentToken,
    Audit,
    Batch,
    JobRun,
    PartitionState,
    RejectedRow,
    ReportDelivery,
    SourceState,
)
from ledger.tables.partition import TABLES, Table, declared
from ledger.tables.power import PowerSample
from ledger.tables.storage import (
    BlockDeviceSample,
    GpfsSample,
    LustreOperationSample,
    MountSample,
    NfsOperationSample,
    StorageDay,
)

__all__ = [
    "TABLES",
    "AgentToken",
    "AllocationHour",
    "Asset",
    "AttributionHour",
    "Audit",
    "Batch",
    "BillImport",
    "BlockDeviceSample",
    "BottleneckHour",
    "BottleneckMinute",
    "Budget",
    "CollectorRun",
    "CostHour",
    "CoverageDay",
    "ExchangeRate",
    "Finding",
    "FindingDecision",
    "FocusCharge",
    "ForecastDay",
    "GpfsSample",
    "Gpu",
    "GpuEvent",
    "GpuHealthSample",
    "GpuHolderSample",
    "GpuHour",
    "GpuMinute",
    "GpuProcessRun",
    "GpuProcessSample",
    "GpuSample",
    "GpuStateInterval",
    "HostSample",
    "IdleIncident",
    "IncidentDecision",
    "IncidentExemption",
    "IncidentNotice",
    "Invoice",
    "Job",
    "JobCgroupSample",
    "JobGpu",
    "JobGpuHour",
    "JobHour",
    "JobRun",
    "JobUsage",
    "LustreOperationSample",
    "Model",
    "ModelCostDay",
    "MountSample",
    "NetworkHour",
    "NetworkPortSample",
    "NfsOperationSample",
    "Node",
    "NodeEvent",
    "NodeMinute",
    "NodeNetworkHour",
    "NodeResource",
    "NodeState",
    "NumaSample",
    "PartitionState",
    "PowerSample",
    "PressureSample",
    "Price",
    "Reconciliation",
    "RejectedRow",
    "ReportDelivery",
    "ServingSample",
    "SourceState",
    "StorageDay",
    "Table",
    "TcpSample",
    "Team",
    "TrainingSample",
    "UnbilledHour",
    "declared",
]
