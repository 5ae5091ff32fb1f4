"""Every table of the ledger; importing this registers them all."""

from ledger.tables.billing import BillImport, FocusCharge, Invoice
from ledger.tables.costs import (
    AllocationHour,
    CostHour,
    Finding,
    FindingDecision,
    ForecastDay,
    ModelCostDay,
    Reconciliation,
)
from ledger.tables.gpu import GpuEvent, GpuHealthSample, GpuProcessSample, GpuSample, NodeEvent
from ledger.tables.host import CollectorRun, HostSample, PressureSample
from ledger.tables.inventory import Asset, Budget, ExchangeRate, Gpu, Model, Node, NodeResource, Price, Team
from ledger.tables.jobs import Job, JobGpu, NodeState, ServingSample
from ledger.tables.network import NetworkPortSample
from ledger.tables.operation import AgentToken, Audit, Batch, JobRun, PartitionState, RejectedRow, ReportDelivery
from ledger.tables.partition import TABLES, Table, declared
from ledger.tables.power import PowerSample
from ledger.tables.rollups import (
    BottleneckHour,
    BottleneckMinute,
    CoverageDay,
    GpuHour,
    GpuMinute,
    GpuStateInterval,
    IdleIncident,
    IncidentDecision,
    JobGpuHour,
    JobHour,
    JobUsage,
    NetworkHour,
    NodeMinute,
    StorageDay,
)
from ledger.tables.storage import BlockDeviceSample, MountSample

__all__ = [
    "TABLES",
    "AgentToken",
    "AllocationHour",
    "Asset",
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
    "Gpu",
    "GpuEvent",
    "GpuHealthSample",
    "GpuHour",
    "GpuMinute",
    "GpuProcessSample",
    "GpuSample",
    "GpuStateInterval",
    "HostSample",
    "IdleIncident",
    "IncidentDecision",
    "Invoice",
    "Job",
    "JobGpu",
    "JobGpuHour",
    "JobHour",
    "JobRun",
    "JobUsage",
    "Model",
    "ModelCostDay",
    "MountSample",
    "NetworkHour",
    "NetworkPortSample",
    "Node",
    "NodeEvent",
    "NodeMinute",
    "NodeResource",
    "NodeState",
    "PartitionState",
    "PowerSample",
    "PressureSample",
    "Price",
    "Reconciliation",
    "RejectedRow",
    "ReportDelivery",
    "ServingSample",
    "StorageDay",
    "Table",
    "Team",
    "declared",
]
