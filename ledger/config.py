"""The configuration: one tree, read once at the edge; functions take values.

Sources, first wins: command line, environment (`CLUSTERLEDGER_SECTION__KEY`), secrets directory,
`clusterledger.toml`. `CLUSTERLEDGER_STORE` is short for `CLUSTERLEDGER_STORE__URL`.

A unit's own settings live in its file and appear under `[collectors.NAME]`, `[sources.NAME]`, `[rollups.NAME]` and
`[rules.NAME]`: the sections are kept here as they are and checked against the unit's model when it is opened.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError

from ledger.budget_rule import BudgetRule
from ledger.errors import ConfigError
from ledger.explain import nearest, problem
from ledger.money_sections import BillPlace, MoneySettings, NodeResource
from ledger.sections import (
    AgentSettings,
    AuthSettings,
    HubSettings,
    MailSettings,
    Match,
    Receiver,
    ReportSettings,
    StoreSettings,
    apart,
)

FILE_NAME = "clusterledger.toml"
FILE_VARIABLE = "CLUSTERLEDGER_CONFIG"
STORE_VARIABLE = "CLUSTERLEDGER_STORE"
SECRETS_VARIABLE = "CLUSTERLEDGER_SECRETS"
HINT = "`clusterledger config` prints every key, its default and its range"

_PREFIX: Final = "CLUSTERLEDGER_"
_DELIMITER: Final = "__"
_SERVICE_ADDRESSES: Final = ("tcp://", "udp://", "sctp://")
_FILE: ContextVar[Path | None] = ContextVar("configuration file", default=None)


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
    budgets: Annotated[tuple[BudgetRule, ...], Field(description="What scopes may spend in a month")] = ()
    notify: Annotated[
        tuple[Receiver, ...],
        AfterValidator(apart),
        Field(description="Who is told of idle incidents, budgets and anomalies"),
    ] = ()
    collectors: Annotated[dict[str, dict[str, Any]], Field(description="One section per collector")] = {}
    sources: Annotated[
        dict[str, dict[str, Any]], Field(description="One section per service of a cluster that the hub asks")
    ] = {}
    bills: Annotated[
        dict[str, BillPlace], Field(description="One section per place from which the hub fetches bills")
    ] = {}
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
    return path if named or path.exists() or path.is_symlink() else None


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
        raise ConfigError(
            f"{path}: {error.strerror}, expected a file that can be read", hint=f"see --config and {FILE_VARIABLE}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: found text that is no TOML: {error}", hint=HINT) from None


def _refuse_unknown_variables() -> None:
    """Refuse a variable of ours that names no section, or one with a single underscore: pydantic passes them over."""
    sections = list(Settings.model_fields)
    _refuse_single_underscores()
    for name in sorted(os.environ):
        section, delimiter, _ = name.removeprefix(_PREFIX).lower().partition(_DELIMITER)
        if name.startswith(_PREFIX) and delimiter and section not in sections:
            found = f"environment: {name}: found section {section}, expected one of {', '.join(sections)}"
            raise ConfigError(found, hint=nearest(section, sections) or HINT)


def _refuse_single_underscores() -> None:
    """Refuse such as CLUSTERLEDGER_AGENT_TOKEN; what Kubernetes says of a Service of such a name is an address."""
    meant = {
        f"{_PREFIX}{section}_{key}".upper(): f"{_PREFIX}{section}{_DELIMITER}{key}".upper()
        for section, field in Settings.model_fields.items()
        if isinstance(field.default, BaseModel)
        for key in type(field.default).model_fields
    }
    for name in sorted(meant.keys() & os.environ.keys()):
        if not os.environ[name].startswith(_SERVICE_ADDRESSES):
            raise ConfigError(
                f"environment: {name}: found one underscore between section and key, expected {meant[name]}", hint=HINT
            )


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
