"""The sections of the configuration: each key with its default, its range and its meaning."""

from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError


def is_one_line(text: str) -> bool:
    """Tell whether a header can hold a text: what refuses it there shows it, and a secret must not be shown."""
    return all(" " <= letter <= "~" for letter in text) and text == text.strip()


def token_of(secret: SecretStr | None) -> SecretStr | None:
    """Return a token without the line end of the file that it comes from; one that no header can hold is refused."""
    if secret is None:
        return None
    text = secret.get_secret_value().strip()
    if not is_one_line(text):
        raise PydanticCustomError("no_token", "one line of plain letters, without accents")
    return SecretStr(text)


class Section(BaseModel):
    """A part of the configuration that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSettings(Section):
    """Where rows are kept, and for how long."""

    url: Annotated[str, Field(description="duckdb:PATH")] = "duckdb:clusterledger.duckdb"
    keep_raw_days: Annotated[int, Field(ge=1, le=3650, description="Days that raw samples are kept")] = 14
    keep_minute_days: Annotated[
        int, Field(ge=1, le=3650, description="Days that minutes, and hours of storage devices, are kept")
    ] = 400
    memory_limit: Annotated[
        str,
        Field(
            description="What DuckDB may hold in memory; a hub holds the newest rows of all tables beside it, 0.4 GB "
            "at most; empty for most of it"
        ),
    ] = "384MB"


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
    metrics_token: Annotated[
        SecretStr | None, Field(description="Token for /metrics; without one it answers on this machine only")
    ] = None
    tls_certificate: Annotated[
        Path | None, Field(description="Its certificate with the chain (PEM), to serve HTTPS itself")
    ] = None
    tls_key: Annotated[Path | None, Field(description="The certificate's private key (PEM)")] = None
    client_ca: Annotated[
        Path | None,
        Field(description="Authorities (PEM): agents must show a certificate of theirs besides the token"),
    ] = None

    _tokens = field_validator("admin_token", "metrics_token")(token_of)


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
    team_claim: Annotated[str, Field(description="Claim that names the teams whose rows others see, one at a time")] = (
        ""
    )
    team_prefix: Annotated[str, Field(description="What stands before the team in values of team_claim")] = ""


class AgentSettings(Section):
    """The loop on a node."""

    hub: Annotated[str, Field(pattern=r"^(https?://.+)?$", description="Address of the hub")] = ""
    token: Annotated[SecretStr | None, Field(description="This node's token")] = None
    cluster: Annotated[str, Field(description="Name of the cluster", min_length=1)] = "default"
    node: Annotated[str, Field(description="Name of this node; empty for its host name")] = ""
    root: Annotated[
        Path, Field(description="Where the node's files are: in a container, where its root folder is mounted")
    ] = Path("/")
    spool: Annotated[Path, Field(description="File that keeps rows until the hub has them")] = Path(
        "/var/lib/clusterledger/spool.db"
    )
    spool_max_bytes: Annotated[
        int, Field(ge=65_536, description="Most the spool may take; the oldest rows go first")
    ] = 1_073_741_824
    ship_every_seconds: Annotated[float, Field(gt=0, le=3600, description="Pace of shipping")] = 10.0
    ca_file: Annotated[
        Path | None, Field(description="Certificate authorities (PEM) that the hub's certificate must come from")
    ] = None
    tls_certificate: Annotated[
        Path | None,
        Field(description="This node's certificate (PEM), where the hub (hub.client_ca) or what is before it asks"),
    ] = None
    tls_key: Annotated[Path | None, Field(description="That certificate's private key (PEM)")] = None
    expected_port_count: Annotated[
        int | None, Field(ge=0, description="RDMA ports that should be up here; empty for what most nodes like it have")
    ] = None
    expected_line_rate_bytes_per_second: Annotated[
        float | None,
        Field(gt=0, le=1e13, description="What each should carry: 25e9 for 200 Gb/s; empty as above"),
    ] = None
    expected_ethernet_port_count: Annotated[
        int | None,
        Field(
            ge=0, description="Ethernet ports that should be up here; empty for what like nodes have, and all of a bond"
        ),
    ] = None
    expected_ethernet_line_rate_bytes_per_second: Annotated[
        float | None,
        Field(gt=0, le=1e13, description="What each should carry: 3.125e9 for 25 Gb/s; empty as above"),
    ] = None
    metrics_port: Annotated[
        int | None, Field(ge=0, le=65535, description="Port of the agent's own /metrics; empty for none, 0 for any")
    ] = None
    metrics_address: Annotated[str, Field(min_length=1, description="Address of the agent's own /metrics")] = (
        "127.0.0.1"
    )

    _token = field_validator("token")(token_of)


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

    @field_validator("time_zone")
    @classmethod
    def _of_the_world(cls, name: str) -> str:
        """Refuse a zone that this machine does not know."""
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise PydanticCustomError("no_zone", "a time zone such as Europe/Berlin") from None
        return name


class Match(Section):
    """One naming rule: the first that matches wins. A trailing * matches any rest."""

    name: Annotated[str, Field(min_length=1, description="Team or model")]
    field: Annotated[
        Literal["user", "account", "partition", "job_name", "comment", "label", "endpoint"],
        Field(description="Where to look"),
    ]
    value: Annotated[str, Field(min_length=1, description="What it must equal; labels as key=value")]


class Receiver(Section):
    """Who is told of idle incidents, each once when it opens and once when it is over, of budgets and anomalies."""

    name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Its name, under which the ledger keeps what it knows"),
    ]
    kind: Annotated[
        Literal["webhook", "slack", "alertmanager"],
        Field(description="Our own JSON, a text that Slack and its likes show, or the API of an Alertmanager"),
    ] = "webhook"
    url: Annotated[str, Field(pattern=r"^https?://.+$", description="Where to post; an Alertmanager's own address")]
    secret: Annotated[
        SecretStr | None, Field(description="Signs a webhook's calls (HMAC-SHA256); a bearer token for the others")
    ] = None
    team: Annotated[
        str, Field(description="Team whose incidents, budgets and anomalies it is told of; empty for all")
    ] = ""
    about: Annotated[
        tuple[Literal["incidents", "budgets", "anomalies"], ...],
        Field(min_length=1, description="What it is told of"),
    ] = ("incidents", "budgets", "anomalies")
    least_minutes: Annotated[
        int, Field(ge=0, le=10_080, description="Idleness below which it is not told; 0 for what opens an incident")
    ] = 0
    ca_file: Annotated[Path | None, Field(description="Private certificate authority of the receiver (PEM)")] = None

    @field_validator("secret")
    @classmethod
    def _bearer(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Return a secret of which none but a webhook's goes into a header."""
        return secret if info.data.get("kind") == "webhook" else token_of(secret)


def apart(receivers: tuple[Receiver, ...]) -> tuple[Receiver, ...]:
    """Refuse two receivers of one name: what one was told the other would not be."""
    names = [each.name for each in receivers]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PydanticCustomError("name_twice", "a name of its own for each; {name} stands twice", {"name": twice})
    return receivers
