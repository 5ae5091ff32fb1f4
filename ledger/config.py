"""The configuration: one tree, read once at the edge; functions take values.

Sources, first wins: command line, environment (`CLUSTERLEDGER_SECTION__KEY`), secrets directory,
`clusterledger.toml`. `CLUSTERLEDGER_STORE` is short for `CLUSTERLEDGER_STORE__URL`.

A unit's own settings live in its file and appear under `[collectors.NAME]`, `[rollups.NAME]` and `[rules.NAME]`:
the sections are kept here as they are and checked against the unit's model when it is opened.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from ledger.errors import ConfigError

FILE_NAME = "clusterledger.toml"
FILE_VARIABLE = "CLUSTERLEDGER_CONFIG"
STORE_VARIABLE = "CLUSTERLEDGER_STORE"
SECRETS_VARIABLE = "CLUSTERLEDGER_SECRETS"


class Section(BaseModel):
    """A part of the configuration that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSettings(Section):
    """Where rows are kept, and for how long."""

    url: Annotated[str, Field(description="duckdb:PATH")] = "duckdb:clusterledger.duckdb"
    keep_raw_days: Annotated[int, Field(ge=1, le=3650, description="Days that raw samples are kept")] = 14
    keep_minute_days: Annotated[int, Field(ge=1, le=3650, description="Days that minute rollups are kept")] = 400
    memory_limit: Annotated[str, Field(description="What DuckDB may use, such as 4GB; empty for its default")] = ""


class HubSettings(Section):
    """The process that owns the store and serves the pages."""

    host: Annotated[str, Field(description="Address to listen on; loopback unless something protects it")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 takes a free one")] = 8501
    url: Annotated[str, Field(description="Address that people use, for links in mails")] = ""
    rollup_every_seconds: Annotated[int, Field(ge=5, le=3600, description="Pace of the rollup job")] = 60
    ingest_max_bytes: Annotated[int, Field(ge=1024, description="Largest compressed body of an ingest call")] = 8_388_608
    ingest_max_rows: Annotated[int, Field(ge=1, description="Most rows in one batch")] = 200_000
    admin_token: Annotated[SecretStr | None, Field(description="Token for the API from elsewhere; loopback needs none")] = None


class AgentSettings(Section):
    """The loop on a node."""

    hub: Annotated[str, Field(description="Address of the hub")] = ""
    token: Annotated[SecretStr | None, Field(description="This node's token")] = None
    cluster: Annotated[str, Field(description="Name of the cluster", min_length=1)] = "default"
    node: Annotated[str, Field(description="Name of this node; empty for its host name")] = ""
    spool: Annotated[Path, Field(description="File that keeps rows until the hub has them")] = Path("/var/lib/clusterledger/spool.db")
    spool_max_bytes: Annotated[int, Field(ge=65_536, description="Most the spool may take; the oldest rows go first")] = 1_073_741_824
    ship_every_seconds: Annotated[float, Field(gt=0, le=3600, description="Pace of shipping")] = 10.0


class MailSettings(Section):
    """The mail server and who gets the report; without a host everything is a dry run."""

    host: Annotated[str, Field(description="SMTP server; empty for a dry run")] = ""
    port: Annotated[int, Field(ge=1, le=65535, description="SMTP port")] = 587
    security: Annotated[Literal["starttls", "tls", "none"], Field(description="How the connection is protected")] = "starttls"
    ca_file: Annotated[Path | None, Field(description="Private certificate authority")] = None
    user: Annotated[str, Field(description="Login name; empty for none")] = ""
    password: Annotated[SecretStr | None, Field(description="Login password")] = None
    sender: Annotated[str, Field(description="From address")] = "clusterledger@localhost"
    unsubscribe: Annotated[str, Field(description="Address or link for List-Unsubscribe")] = ""


class Recipient(Section):
    """One reader of the weekly report."""

    address: Annotated[str, Field(min_length=3, pattern=r"^[^@\s]+@[^@\s]+$", description="Mail address")]
    team: Annotated[str, Field(description="Team whose numbers the report shows; empty for all")] = ""


class ReportSettings(Section):
    """The weekly report."""

    weekday: Annotated[int, Field(ge=1, le=7, description="Day it goes out: 1 is Monday")] = 1
    hour: Annotated[int, Field(ge=0, le=23, description="Hour it goes out, in `time_zone`")] = 7
    time_zone: Annotated[str, Field(description="Time zone of its weeks")] = "UTC"
    cool_down_days: Annotated[int, Field(ge=0, le=365, description="Days until the same finding is mailed again")] = 7
    recipients: Annotated[tuple[Recipient, ...], Field(description="Who gets it")] = ()


class Match(Section):
    """One naming rule: the first that matches wins. A trailing * matches any rest."""

    name: Annotated[str, Field(min_length=1, description="Team or model")]
    field: Annotated[
        Literal["user", "account", "partition", "job_name", "comment", "label", "endpoint"],
        Field(description="Where to look"),
    ]
    value: Annotated[str, Field(min_length=1, description="What it must equal; labels as key=value")]


class ScopeSettings(Section):
    """Which charges belong to the AI estate; nothing set means all."""

    accounts: Annotated[tuple[str, ...], Field(description="Billing or sub-accounts")] = ()
    tags: Annotated[tuple[str, ...], Field(description="Tags as key=value, or a key alone")] = ()
    services: Annotated[tuple[str, ...], Field(description="Service names; a trailing * matches any rest")] = ()
    resources: Annotated[tuple[str, ...], Field(description="Resource ids; a trailing * matches any rest")] = ()


SPLIT_RULES = ("whole_node_to_gpu", "95_3_2", "70_30", "aws_9_09_01")


class MoneySettings(Section):
    """How bills become costs of devices and people."""

    split_rule: Annotated[
        Literal["whole_node_to_gpu", "95_3_2", "70_30", "aws_9_09_01"],
        Field(description="How a node's price is divided among GPUs, processors and memory"),
    ] = "whole_node_to_gpu"
    shared_cost: Annotated[
        Literal["apart", "proportional", "even"], Field(description="What happens to cost that belongs to all")
    ] = "apart"
    display_currency: Annotated[str, Field(pattern=r"^([A-Z]{3})?$", description="ISO 4217; empty shows each apart")] = ""
    scope: ScopeSettings = ScopeSettings()
    append_only_sources: Annotated[tuple[str, ...], Field(description="Sources that deliver additions, never a whole period")] = ()
    smaller_import_ratio: Annotated[
        float, Field(gt=0, lt=1, description="An import that is smaller by this share waits for --accept")
    ] = 0.2


class Settings(BaseSettings):
    """Everything an operator decides."""

    model_config = SettingsConfigDict(
        extra="forbid", env_prefix="CLUSTERLEDGER_", env_nested_delimiter="__", nested_model_default_partial_update=True
    )

    store: StoreSettings = StoreSettings()
    hub: HubSettings = HubSettings()
    agent: AgentSettings = AgentSettings()
    mail: MailSettings = MailSettings()
    report: ReportSettings = ReportSettings()
    money: MoneySettings = MoneySettings()
    teams: Annotated[tuple[Match, ...], Field(description="Rules that name a job's team; else its account")] = ()
    models: Annotated[tuple[Match, ...], Field(description="Rules that name a job's model")] = ()
    collectors: Annotated[dict[str, dict[str, Any]], Field(description="One section per collector")] = {}
    rollups: Annotated[dict[str, dict[str, Any]], Field(description="One section per settings model of the rollups")] = {}
    rules: Annotated[dict[str, dict[str, Any]], Field(description="One section per right-sizing rule")] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the file behind the environment and the secrets."""
        del dotenv_settings
        path = config_path()
        sources = (init_settings, env_settings, file_secret_settings)
        return (*sources, TomlConfigSettingsSource(settings_cls, path)) if path else sources


def config_path() -> Path | None:
    """Return the configuration file in force, or None."""
    named = os.environ.get(FILE_VARIABLE)
    path = Path(named) if named else Path(FILE_NAME)
    return path if named or path.is_file() else None
