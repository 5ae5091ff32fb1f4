"""The sections of the configuration about bills: where they come from, whose they are, and how costs are divided."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Final, Literal, get_args

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ledger.sections import Section

SplitRule = Literal["whole_node_to_gpu", "95_3_2", "70_30", "aws_9_09_01", "custom"]

SPLIT_RULES: Final[tuple[SplitRule, ...]] = tuple(rule for rule in get_args(SplitRule) if rule != "custom")
"""Those that need no shares of one's own."""

SharedCostRule = Literal["apart", "proportional", "even", "fixed", "direct"]

SHARED_COST_RULES: Final[tuple[SharedCostRule, ...]] = get_args(SharedCostRule)

CostKind = Literal[
    "usage",
    "storage",
    "network",
    "control_plane",
    "management",
    "support",
    "tax",
    "credit",
    "purchase",
    "adjustment",
]

NodePart = Literal["gpu", "cpu", "memory"]

TeamName = Annotated[str, Field(min_length=1)]
Share = Annotated[Decimal, Field(gt=0, le=1, decimal_places=6)]


class ScopeSettings(Section):
    """Which charges belong to the AI estate; nothing set means all."""

    accounts: Annotated[tuple[str, ...], Field(description="Billing or sub-accounts")] = ()
    tags: Annotated[tuple[str, ...], Field(description="Tags as key=value, or a key alone")] = ()
    services: Annotated[tuple[str, ...], Field(description="Service names; a trailing * matches any rest")] = ()
    resources: Annotated[tuple[str, ...], Field(description="Resource ids; a trailing * matches any rest")] = ()


class NodeResource(Section):
    """One link between a node and resources of a bill, as a person states it: surer than any id or tag."""

    node: Annotated[str, Field(min_length=1, description="Node name; a trailing * matches any rest")]
    resource: Annotated[
        str,
        Field(
            min_length=1,
            description="Resource id of the bill, `{node}` for the node's name; a trailing * matches any rest",
        ),
    ]
    cluster: Annotated[str, Field(description="Cluster of the node; empty for all")] = ""
    provider: Annotated[str, Field(description="The bill's ServiceProviderName; empty for all")] = ""


class CostOwner(Section):
    """One rule that names the team a charge without a node belongs to: the first that matches wins."""

    team: Annotated[str, Field(min_length=1, description="Team that owns it")]
    field: Annotated[
        Literal["resource", "tag", "service", "account"],
        Field(description="Where to look: resource id, tag, service name, billing or sub-account"),
    ]
    value: Annotated[
        str,
        Field(
            min_length=1,
            description="What it must equal; a trailing * matches any rest; a tag as key=value, or a key alone",
        ),
    ]


class FileSystem(Section):
    """One link between a file system of nodes and the resource of a bill that pays for it, as a person states it."""

    file_system: Annotated[
        str,
        Field(
            min_length=1,
            description="What nodes call it: server and export, its name, or where it is mounted; "
            "a trailing * matches any rest",
        ),
    ]
    resource: Annotated[str, Field(min_length=1, description="Resource id of the bill; a trailing * matches any rest")]
    cluster: Annotated[str, Field(description="Cluster of the nodes; empty for all")] = ""


class BillPlace(Section):
    """A place where bills are delivered again and again, and the hub fetches what has changed there."""

    url: Annotated[str, Field(min_length=1, description="Folder, or prefix in an object store: s3://, gs:// or az://")]
    every_seconds: Annotated[float, Field(gt=0, le=604_800, description="Pace of looking there")] = 3600.0
    enabled: Annotated[bool, Field(description="Look there")] = True
    format: Annotated[str, Field(description="Format of the files; empty to detect it")] = ""
    replaces: Annotated[
        Literal["same_name", "same_period"],
        Field(description="What a new file replaces: bills of its own name, or all of its account and period there"),
    ] = "same_name"
    defaults: Annotated[
        dict[str, str], Field(description="Values for columns that these bills lack, before money.bill_defaults")
    ] = {}
    options: Annotated[
        dict[str, SecretStr],
        Field(description="Options of the object store, such as region, endpoint, access_key_id; else the environment"),
    ] = {}


class RateCard(Section):
    """One rate of a provider whose export says usage without cost."""

    provider: Annotated[str, Field(min_length=1, description="Who sells it, as the usage names it")]
    sku: Annotated[str, Field(min_length=1, description="What the usage calls it")]
    unit_price: Annotated[Decimal, Field(ge=0, description="Price of one unit, as agreed")]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217")]
    unit: Annotated[str, Field(min_length=1, description="What one unit is")] = "Hours"
    region: Annotated[str, Field(description="Where; empty for everywhere")] = ""
    valid_from: Annotated[date, Field(description="First day on which it holds")] = date(2000, 1, 1)


class StatedRate(Section):
    """One exchange rate, as a person states it."""

    day: Annotated[date, Field(description="Day of the rate; it holds until the next one")]
    from_currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217")]
    to_currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217")]
    unit_price: Annotated[Decimal, Field(gt=0, description="How much of to_currency one of from_currency buys")]


class MoneySettings(Section):
    """How bills become costs of devices and people."""

    split_ratios: Annotated[
        dict[NodePart, Share],
        Field(description="Under split_rule `custom`: the shares of gpu, cpu and memory, which sum to 1"),
    ] = {}
    split_rule: Annotated[
        SplitRule, Field(description="How a node's price is divided among GPUs, processors and memory")
    ] = "whole_node_to_gpu"
    shared_cost: Annotated[SharedCostRule, Field(description="What happens to cost that belongs to all")] = "apart"
    shared_cost_rules: Annotated[
        dict[CostKind, SharedCostRule],
        Field(description="Kinds of cost that go by a rule of their own: tax, credit, support, storage, network, ..."),
    ] = {}
    shared_cost_ratios: Annotated[
        dict[TeamName, Share],
        Field(description="Under `fixed`: each team's share; the rest stays apart", validate_default=True),
    ] = {}
    owners: Annotated[
        tuple[CostOwner, ...], Field(description="Whose volumes, buckets, file systems and services are")
    ] = ()
    file_systems: Annotated[
        tuple[FileSystem, ...],
        Field(description="Which resource of a bill is which file system, where its id does not stand in the mount"),
    ] = ()
    display_currency: Annotated[
        str, Field(pattern=r"^([A-Z]{3})?$", exclude=True, description="ISO 4217; empty shows each apart")
    ] = ""
    scope: ScopeSettings = ScopeSettings()
    append_only_sources: Annotated[
        tuple[str, ...], Field(description="Sources that deliver additions, never a whole period")
    ] = ()
    smaller_import_ratio: Annotated[
        float, Field(gt=0, lt=1, description="An import that is smaller by this share waits for --accept")
    ] = 0.2
    bill_defaults: Annotated[
        dict[str, str], Field(description="Values for columns that bills lack, such as BillingCurrency")
    ] = {}
    # What follows is used when a bill is imported or shown: no stored cost depends on it.
    rate_cards: Annotated[
        tuple[RateCard, ...], Field(exclude=True, description="Rates for usage whose export says no cost")
    ] = ()
    exchange_rates: Annotated[
        tuple[StatedRate, ...],
        Field(exclude=True, description="Rates for display_currency; dated files can be imported"),
    ] = ()

    @field_validator("shared_cost_ratios")
    @classmethod
    def _at_most_all(cls, ratios: dict[str, Decimal], info: ValidationInfo) -> dict[str, Decimal]:
        """Refuse shares of more than all of it, and a rule of fixed shares without any."""
        whole = sum(ratios.values(), Decimal(0))
        if whole > 1:
            expected = "shares that sum to 1 at most; these sum to {whole}"
            raise PydanticCustomError("shares_above_all", expected, {"whole": str(whole)})
        if not ratios and info.data.get("shared_cost") == "fixed":
            raise PydanticCustomError("shares_missing", 'a share of each team, as shared_cost is "fixed"')
        kinds = info.data.get("shared_cost_rules", {})
        fixed = next((kind for kind, rule in kinds.items() if rule == "fixed"), "")
        if not ratios and fixed:
            expected = 'a share of each team, as shared_cost_rules.{kind} is "fixed"'
            raise PydanticCustomError("shares_missing", expected, {"kind": fixed})
        return ratios

    @field_validator("split_rule")
    @classmethod
    def _shares_of_a_node(cls, rule: str, info: ValidationInfo) -> str:
        """Refuse shares of a node that are not all of it, and a custom rule without any."""
        ratios = info.data.get("split_ratios", {})
        whole = sum(ratios.values(), Decimal(0))
        if whole != 1 and (ratios or rule == "custom"):
            expected = "split_ratios that sum to 1; these sum to {whole}"
            raise PydanticCustomError("split_not_whole", expected, {"whole": str(whole)})
        return rule
