"""The configuration: one tree, read once at the edge; functions take values.

Sources, first wins: command line, environment (`CLUSTERLEDGER_SECTION__KEY`), secrets directory,
`clusterledger.toml`. `CLUSTERLEDGER_STORE` is short for `CLUSTERLEDGER_STORE__URL`.

A unit's own settings live in its file and appear under `[collectors.NAME]`, `[rollups.NAME]` and `[rules.NAME]`:
the sections are kept here as they are and checked against the unit's model when it is opened.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError

from ledger.errors import ConfigError
from ledger.explain import nearest, problem

FILE_NAME = "clusterledger.toml"
FILE_VARIABLE = "CLUSTERLEDGER_CONFIG"
STORE_VARIABLE = "CLUSTERLEDGER_STORE"
SECRETS_VARIABLE = "CLUSTERLEDGER_SECRETS"
HINT = "`clusterledger config` prints every key, its default and its range"

_PREFIX: Final = "CLUSTERLEDGER_"
_DELIMITER: Final = "__"
_FILE: ContextVar[Path | None] = ContextVar("configuration file", default=None)


class Section(BaseModel):
    """A part of the configuration that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSettings(Section):
    """Where rows are kept, and for how long."""

    url: Annotated[str, Field(description="duckdb:PATH")] = "duckdb:clusterledger.duckdb"
    keep_raw_days: Annotated[int, Field(ge=1, le=3650, description="Days that raw samples are kept")] = 14
    keep_minute_days: Annotated[int, Field(ge=1, le=3650, description="Days that minute rollups are kept")] = 400
    memory_limit: Annotated[str, Field(description="What DuckDB may hold in memory; empty for most of it")] = "384MB"


class HubSettings(Section):
    """The process that owns the store and serves the pages."""

    host: Annotated[str, Field(description="Address to listen on; loopback unless something protects it")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 takes a free one")] = 8501
    url: Annotated[str, Field(description="Address that people use, for links in mails")] = ""
    allowed_hosts: Annotated[
        tuple[str, ...], Field(description="Further host names under which it may be called; addresses always may")
    ] = ()
    rollup_every_seconds: Annotated[int, Field(ge=5, le=3600, description="Pace of the rollup job")] = 60
    ingest_max_bytes: Annotated[int, Field(ge=1024, description="Largest compressed body of an ingest call")] = (
        8_388_608
    )
    ingest_max_rows: Annotated[int, Field(ge=1, description="Most rows in one batch")] = 200_000
    ingest_calls_per_minute: Annotated[
        int, Field(ge=6, le=60_000, description="Most ingest calls of one node; an agent makes 6, more to catch up")
    ] = 300
    admin_token: Annotated[
        SecretStr | None, Field(description="Token for the services of the API; pages need none")
    ] = None


class AuthSettings(Section):
    """Who may see the pages: people log in by OpenID Connect; without a provider everybody is an admin."""

    metadata_url: Annotated[
        str,
        Field(
            pattern=r"^(https?://.+)?$", description="The provider's .well-known/openid-configuration; empty for none"
        ),
    ] = ""
    client_id: Annotated[str, Field(description="Name of the hub at the provider")] = ""
    client_secret: Annotated[SecretStr | None, Field(description="Password of the hub at the provider")] = None
    scopes: Annotated[str, Field(pattern=r"\bopenid\b", description="What the provider is asked to tell")] = (
        "openid email profile"
    )
    cookie_secret: Annotated[
        SecretStr | None, Field(min_length=32, description="Signs logins; without one they end with the hub's process")
    ] = None
    session_hours: Annotated[int, Field(ge=1, le=720, description="Hours until people log in again")] = 12
    role_claim: Annotated[str, Field(description="Claim whose values give a role; a dot leads into an object")] = (
        "groups"
    )
    admins: Annotated[tuple[str, ...], Field(description="Values of role_claim that see and do everything")] = ()
    managers: Annotated[tuple[str, ...], Field(description="Values of role_claim that see everything")] = ()
    sres: Annotated[tuple[str, ...], Field(description="Values of role_claim that see everything")] = ()
    team_claim: Annotated[
        str, Field(description="Claim that names the team whose rows others see; the first of several counts")
    ] = ""
    team_prefix: Annotated[str, Field(description="What stands before the team in values of team_claim")] = ""


class AgentSettings(Section):
    """The loop on a node."""

    hub: Annotated[str, Field(pattern=r"^(https?://.+)?$", description="Address of the hub")] = ""
    token: Annotated[SecretStr | None, Field(description="This node's token")] = None
    cluster: Annotated[str, Field(description="Name of the cluster", min_length=1)] = "default"
    node: Annotated[str, Field(description="Name of this node; empty for its host name")] = ""
    spool: Annotated[Path, Field(description="File that keeps rows until the hub has them")] = Path(
        "/var/lib/clusterledger/spool.db"
    )
    spool_max_bytes: Annotated[
        int, Field(ge=65_536, description="Most the spool may take; the oldest rows go first")
    ] = 1_073_741_824
    ship_every_seconds: Annotated[float, Field(gt=0, le=3600, description="Pace of shipping")] = 10.0


class MailSettings(Section):
    """The mail server and who gets the report; without a host everything is a dry run."""

    host: Annotated[str, Field(description="SMTP server; empty for a dry run")] = ""
    port: Annotated[int, Field(ge=1, le=65535, description="SMTP port")] = 587
    security: Annotated[Literal["starttls", "tls", "none"], Field(description="How the connection is protected")] = (
        "starttls"
    )
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


SPLIT_RULES = ("whole_node_to_gpu", "95_3_2", "70_30", "aws_9_09_01")


SHARED_COST_RULES = ("apart", "proportional", "even", "fixed")

TeamName = Annotated[str, Field(min_length=1)]
Share = Annotated[Decimal, Field(gt=0, le=1, decimal_places=6)]


class MoneySettings(Section):
    """How bills become costs of devices and people."""

    split_rule: Annotated[
        Literal["whole_node_to_gpu", "95_3_2", "70_30", "aws_9_09_01"],
        Field(description="How a node's price is divided among GPUs, processors and memory"),
    ] = "whole_node_to_gpu"
    shared_cost: Annotated[
        Literal["apart", "proportional", "even", "fixed"], Field(description="What happens to cost that belongs to all")
    ] = "apart"
    shared_cost_ratios: Annotated[
        dict[TeamName, Share],
        Field(description="Under `fixed`: each team's share; the rest stays apart", validate_default=True),
    ] = {}
    display_currency: Annotated[
        str, Field(pattern=r"^([A-Z]{3})?$", description="ISO 4217; empty shows each apart")
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
        return ratios


class Settings(BaseSettings):
    """Everything an operator decides."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=_PREFIX,
        env_nested_delimiter=_DELIMITER,
        nested_model_default_partial_update=True,
    )

    store: StoreSettings = StoreSettings()
    hub: HubSettings = HubSettings()
    auth: AuthSettings = AuthSettings()
    agent: AgentSettings = AgentSettings()
    mail: MailSettings = MailSettings()
    report: ReportSettings = ReportSettings()
    money: MoneySettings = MoneySettings()
    teams: Annotated[tuple[Match, ...], Field(description="Rules that name a job's team; else its account")] = ()
    models: Annotated[tuple[Match, ...], Field(description="Rules that name a job's model")] = ()
    node_resources: Annotated[
        tuple[NodeResource, ...], Field(description="Which resources of bills are which nodes")
    ] = ()
    collectors: Annotated[dict[str, dict[str, Any]], Field(description="One section per collector")] = {}
    rollups: Annotated[
        dict[str, dict[str, Any]], Field(description="One section per settings model of the rollups")
    ] = {}
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
        del env_settings, dotenv_settings
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, _Environment(settings_cls))
        if directory := os.environ.get(SECRETS_VARIABLE):
            files = NestedSecretsSettingsSource(
                file_secret_settings, secrets_dir=directory, secrets_prefix="", secrets_nested_delimiter=_DELIMITER
            )
            sources = (*sources, files)
        path = config_path()
        return (*sources, TomlConfigSettingsSource(settings_cls, path)) if path else sources


class _Environment(EnvSettingsSource):
    """The environment, in which CLUSTERLEDGER_STORE is short for the store's address."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        found = dict(super()._load_env_vars())
        short = found.pop(STORE_VARIABLE.lower(), None)
        if short:
            found.setdefault(f"{STORE_VARIABLE}{_DELIMITER}URL".lower(), short)
        return found


def config_path() -> Path | None:
    """Return the configuration file in force, or None."""
    named = _FILE.get() or os.environ.get(FILE_VARIABLE)
    path = Path(named) if named else Path(FILE_NAME)
    return path if named or path.is_file() else None


def load(path: Path | None = None, **overrides: Any) -> Settings:
    """Read the configuration once: overrides by section, then environment, secrets directory, file.

    Raises: ConfigError: one line for each problem, with where it stands, what was found, what was expected.
    """
    with _reading(path):
        file = config_path()
        _refuse_unreadable(file)
        _refuse_unknown_variables()
        try:
            return Settings(**overrides)
        except ValidationError as error:
            lines = [f"{_origin(each['loc'], file, overrides)}: {problem(each, Settings)}" for each in error.errors()]
            raise ConfigError("\n".join(dict.fromkeys(lines)), hint=HINT) from None
        except SettingsError as error:
            raise ConfigError(f"environment: {error}", hint=HINT) from None


@contextmanager
def _reading(path: Path | None) -> Iterator[None]:
    token = _FILE.set(path or _FILE.get())
    try:
        yield
    finally:
        _FILE.reset(token)


def _refuse_unreadable(path: Path | None) -> None:
    secrets = os.environ.get(SECRETS_VARIABLE)
    if secrets and not Path(secrets).is_dir():
        raise ConfigError(f"{SECRETS_VARIABLE}: found {secrets}, expected a directory", hint="one file per secret")
    if path is None:
        return
    try:
        with path.open("rb") as file:
            tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint=f"see --config and {FILE_VARIABLE}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: found text that is no TOML: {error}", hint=HINT) from None


def _refuse_unknown_variables() -> None:
    """Refuse a variable of ours whose section does not exist: pydantic passes it over in silence."""
    sections = list(Settings.model_fields)
    for name in sorted(os.environ):
        section, delimiter, _ = name.removeprefix(_PREFIX).lower().partition(_DELIMITER)
        if name.startswith(_PREFIX) and delimiter and section not in sections:
            found = f"environment: {name}: found section {section}, expected one of {', '.join(sections)}"
            raise ConfigError(found, hint=nearest(section, sections) or HINT)


def origin(*key: str) -> str:
    """Say where the value of a key came from: a file or a variable."""
    return _origin(key, config_path(), {})


def _origin(loc: tuple[int | str, ...], file: Path | None, overrides: Mapping[str, Any]) -> str:
    """Say where a value came from, in the order in which sources win."""
    if _holds(overrides, loc):
        return "command line"
    variable = _PREFIX + _DELIMITER.join(str(part).upper() for part in loc)
    names = {name.upper() for name in os.environ}
    if variable in names:
        return f"environment: {variable}"
    if loc[:2] == ("store", "url") and STORE_VARIABLE in names:
        return f"environment: {STORE_VARIABLE}"
    secret = _DELIMITER.join(str(part) for part in loc)
    directory = os.environ.get(SECRETS_VARIABLE)
    if directory and (Path(directory) / secret).is_file():
        return str(Path(directory) / secret)
    return str(file) if file else "configuration"


def _holds(values: object, loc: tuple[int | str, ...]) -> bool:
    for part in loc:
        if isinstance(values, BaseModel):
            values = values.model_dump(exclude_unset=True)
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True
