"""How a Prometheus is reached: authentication, a private authority, and when a call is made again."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Final

import requests
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.util.retry import Retry

from ledger.errors import ConfigError
from ledger.sections import is_one_line, token_of

RETRIES: Final = 3
RETRY_ON: Final = (429, 502, 503, 504)
MOST_RETRY_AFTER_SECONDS: Final = 30


class Connection(BaseModel):
    """How a server is reached."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[
        str, Field(pattern=r"^https?://[^\s]+$", description="Its address, up to and without /api/v1 or /graph")
    ]
    token: Annotated[SecretStr | None, Field(description="Bearer token")] = None
    user: Annotated[str, Field(description="Login name for basic authentication; empty for none")] = ""
    password: Annotated[SecretStr | None, Field(description="Its password")] = None
    ca_file: Annotated[Path | None, Field(description="Private certificate authority")] = None
    headers: Annotated[
        dict[str, SecretStr], Field(description='Further headers, such as { X-Scope-OrgID = "tenant" }')
    ] = {}
    timeout_seconds: Annotated[float, Field(gt=0, le=600, description="After this a query has failed")] = 60.0

    _token = field_validator("token")(token_of)

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not (name and " " not in name and is_one_line(name) and is_one_line(value.get_secret_value())):
                raise ValueError(f"found in {name!r} what no header may have, expected plain letters on one line")
        return headers


class _Bearer(AuthBase):
    """A token, given as authentication: an entry in ~/.netrc would replace a mere header."""

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        return request


def authentication(settings: Connection) -> AuthBase | None:
    """Return what is added to each call, or None."""
    if settings.token:
        return _Bearer(settings.token)
    if settings.user:
        password = settings.password.get_secret_value() if settings.password is not None else ""
        return HTTPBasicAuth(settings.user.encode(), password.encode())
    return None


def session(settings: Connection) -> requests.Session:
    """Return a session that trusts the configured authority.

    Raises: ConfigError: its file is not there.
    """
    opened = requests.Session()
    if settings.ca_file is not None:
        if not settings.ca_file.is_file():
            raise ConfigError(f"ca_file: found no file {settings.ca_file}", hint="see ca_file of its section")
        opened.verify = str(settings.ca_file)
    return opened


def retry(statuses: Collection[int] = RETRY_ON) -> Retry:
    """Return when a call is made again: also a POST, because a query changes nothing."""
    return Retry(
        total=RETRIES,
        connect=1,
        read=0,
        other=0,
        status=RETRIES,
        allowed_methods=None,
        status_forcelist=statuses,
        backoff_factor=0.5,
        backoff_jitter=0.25,
        raise_on_status=False,
        # Else what asks to come again would be asked again, whatever its status.
        respect_retry_after_header=set(statuses) == set(RETRY_ON),
        retry_after_max=MOST_RETRY_AFTER_SECONDS,
    )
