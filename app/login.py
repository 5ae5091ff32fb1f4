"""Who looks: a person for whom an OpenID Connect provider vouches, and the role that their claims give them.

Without a provider in `[auth]` everybody who reaches the hub is an admin: it listens on loopback for that reason.
"""

import json
import re
import secrets as random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import streamlit as st
from starlette.requests import HTTPConnection
from streamlit.auth_util import encode_provider_token, get_cookie_with_chunks
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

from app.context import Context
from app.data import Scope
from ledger.errors import ConfigError
from ledger.sections import AuthSettings, HubSettings

Claims = Mapping[str, Any]
"""What a provider says of a person, as it stands in the cookie that Streamlit signs."""

CALLBACK: Final = "/oauth2callback"

_MARKS: Final = re.compile(r"[!-/:-@\[-`{-~]")
"""What Markdown may read as more than text: a name is what its owner chose."""

_ROLES: Final = (("admin", "admins"), ("manager", "managers"), ("sre", "sres"))
"""Each role with the setting that says who has it: the first that fits counts."""


def is_on(auth: AuthSettings) -> bool:
    """Tell whether people must log in."""
    return bool(auth.metadata_url)


def checked(auth: AuthSettings) -> None:
    """Refuse settings with which nobody could log in, or nobody would see anything.

    Raises: ConfigError: something is missing.
    """
    if not is_on(auth):
        return
    if not auth.client_id or auth.client_secret is None:
        missing = "client_id" if not auth.client_id else "client_secret"
        raise ConfigError(
            f"auth.{missing}: found nothing, expected what the provider gave", hint="register the hub there"
        )
    if not (auth.admins or auth.managers or auth.sres or auth.team_claim):
        raise ConfigError(
            "auth: found nobody who would have a role, expected values of auth.role_claim in auth.admins, "
            "auth.managers or auth.sres, or auth.team_claim",
            hint='such as role_claim = "groups" and admins = ["platform"]',
        )


def origin(hub: HubSettings, address: str) -> str:
    """Return what stands before each path when people call the hub: as configured, else where it listens."""
    parts = urlsplit(hub.url or address)
    return f"{parts.scheme}://{parts.netloc}"


def secrets(auth: AuthSettings, at: str) -> dict[str, Any]:
    """Return the secrets that Streamlit's login works with, for a hub at an origin."""
    if not is_on(auth):
        return {}
    cookie = auth.cookie_secret.get_secret_value() if auth.cookie_secret else random.token_hex(32)
    return {
        "auth": {
            "redirect_uri": f"{at}{CALLBACK}",
            "cookie_secret": cookie,
            "client_id": auth.client_id,
            "client_secret": auth.client_secret.get_secret_value() if auth.client_secret else "",
            "server_metadata_url": auth.metadata_url,
            "client_kwargs": {"scope": auth.scopes, "prompt": "select_account"},
        }
    }


def claims_of(connection: HTTPConnection, cookie_secret: str, at: str) -> Claims:
    """Return what the signed cookie of a call says of who calls; nothing where there is none that is ours."""

    def signed(name: str) -> bytes | None:
        value = connection.cookies.get(name)
        return decode_signed_value(cookie_secret, name, value.encode("latin-1", "replace")) if value else None

    try:
        found = json.loads(get_cookie_with_chunks(signed, USER_COOKIE_NAME) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("origin") == at else {}


def is_current(auth: AuthSettings, claims: Claims, now: datetime) -> bool:
    """Tell whether a person has logged in, and not too long ago: what the provider says may have changed since."""
    issued = claims.get("iat")
    if claims.get("is_logged_in") is not True or not isinstance(issued, int):
        return False
    return now.timestamp() - issued < timedelta(hours=auth.session_hours).total_seconds()


def scope_of(auth: AuthSettings, claims: Claims) -> Scope | None:
    """Return the role of a person, and the teams whose rows they may see; None if nothing gives them one."""
    given = set(values(claims, auth.role_claim))
    for role, setting in _ROLES:
        if given & set(getattr(auth, setting)):
            return Scope(role)
    prefix = auth.team_prefix
    teams = [each.removeprefix(prefix) for each in values(claims, auth.team_claim) if each.startswith(prefix)]
    own = tuple(dict.fromkeys(each for each in teams if each))
    return Scope("team", own[0], own) if own else None


def values(claims: Claims, name: str) -> tuple[str, ...]:
    """Return the texts of a claim; a dot in its name leads into an object, unless a claim is called just so.

    An address that the provider has not verified is nobody's.
    """
    if not name or (name == "email" and claims.get("email_verified") is False):
        return ()
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return (found,)
    return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list) else ()


def person(claims: Claims) -> str:
    """Return what a person is called in the audit log and on the page."""
    return next((each for name in ("email", "preferred_username", "name", "sub") for each in values(claims, name)), "")


def login_path() -> str:
    """Return where a call is sent to log in."""
    return f"/auth/login?provider={encode_provider_token('default')}"


def watch(context: Context) -> None:
    """Let pages of a context see who looks at them, if people must log in."""
    if is_on(context.settings.auth):
        context.viewer = partial(_viewer, context.settings.auth, context.now)
        context.person = lambda: person(_user())


def _viewer(auth: AuthSettings, now: Callable[[], datetime]) -> Scope:
    """Return the scope of who looks at the page that runs now; the page ends here without one."""
    claims = _user()
    scope = scope_of(auth, claims) if is_current(auth, claims, now()) else None
    if scope is None:
        # The gate let this socket in: since then the login has come to its end.
        st.error("Your login has ended. Reload the page to log in again.")
        st.stop()
    return scope


def _user() -> Claims:
    return st.user.to_dict()


def draw(context: Context) -> None:
    """Draw who is logged in, and the way out."""
    if context.viewer is None:
        return
    scope = context.viewer()
    name = context.person() if context.person else ""
    with st.sidebar:
        st.caption(_MARKS.sub(r"\\\g<0>", f"{name} · {', '.join(scope.teams) or scope.role}"))
        if st.button("Log out", icon=":material/logout:", type="tertiary"):
            st.logout()
