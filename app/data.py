"""What pages read: each read takes the viewer's scope, as an argument and as a part of its cache key.

A page asks for rows of a rollup (`rows`), for the answer to a question in `queries/sql` (`answer`), or
for what a pure function makes of rows (`computed`). Reads are cached until their table changes.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, TypeVar

import dataframely as dy
import polars as pl

from app import context as contexts
from app.again import Asked
from app.cache import Cache
from app.context import Context, acting
from app.page import Role
from ledger.config import Settings
from ledger.errors import InputError
from ledger.tables import Finding, IdleIncident, declared
from queries import sql

P = ParamSpec("P")
T = TypeVar("T")

# A quarter of what the hub may use on a small machine; a year of 1,000 GPUs' hours does not fit, nor should it.
_CACHE: Final = Cache(512 * 1024 * 1024)

_ASKED: Final = Asked()

_NOW: Final = "now"
"""The parameter of what is about the present: it is asked anew each minute, and takes the place of what was."""

OPEN_TO_TEAMS: Final = frozenset({"node", "gpu", "coverage_day", "exchange_rate", "price", "job_run"})
"""Tables without a team column that a viewer of role `team` may read: they tell of no other team."""


class Scope(NamedTuple):
    """Who looks, and whose rows they see; team '' is all teams.

    Who is in several `teams` looks at one of them at a time.
    """

    role: Role = "admin"
    team: str = ""
    teams: tuple[str, ...] = ()

    @property
    def is_limited(self) -> bool:
        """Say whether only one team's rows may be seen."""
        return self.role == "team"

    def of(self, team: str) -> "Scope":
        """Return the scope of the same viewer who looks at another of their teams; it stays where it is none."""
        return self._replace(team=team) if team in self.teams else self


class Window(NamedTuple):
    """A stretch of time, half-open, UTC."""

    start: datetime
    end: datetime


def hub() -> Context:
    """Return the hub's context.

    Raises: InputError: the page runs outside a hub.
    """
    found = contexts.current()
    if found is None:
        raise InputError("no hub runs in this process", hint="start it with `clusterledger up`")
    return found


def settings() -> Settings:
    """Return the configuration in force."""
    return hub().settings


def now() -> datetime:
    """Return the present instant by the hub's clock."""
    return hub().now()


def viewer() -> Scope:
    """Return the scope of the person who looks at the page; where nobody logs in, everybody is an admin."""
    told = hub().viewer
    return told() if told is not None else Scope()


def _own(scope: Scope) -> str:
    """Return the team of a limited viewer: without one '' would stand for all teams.

    Raises: InputError: there is none.
    """
    if not scope.team:
        raise InputError("viewer: found no team, expected the one whose rows to show", hint="see auth.team_claim")
    return scope.team


def rows(
    schema: type[dy.Schema],
    window: tuple[datetime, datetime] | None = None,
    *,
    scope: Scope,
    columns: Sequence[str] = (),
    where: Mapping[str, Sequence[object]] | None = None,
    by: str = "",
) -> pl.DataFrame:
    """Return rows of a table in a window, typed as its schema, limited to what the viewer may see.

    A viewer of role `team` gets the own team's rows, and none of a table that does not say whose they are.
    """
    table = declared(schema)
    wanted = {name: tuple(values) for name, values in (where or {}).items()}
    kept = tuple(columns)
    if scope.is_limited and table.name not in OPEN_TO_TEAMS:
        if "team" not in schema.columns():
            empty = schema.create_empty()
            return empty.select(kept) if kept else empty
        asked = wanted.get("team", (_own(scope),))
        wanted["team"] = tuple(team for team in asked if team == _own(scope)) or ("\0",)
    at = hub()
    return _read(
        ("rows", scope, table.name, window, kept, tuple(sorted(wanted.items())), by),
        at.version([table.name]),
        lambda: at.store.read(schema, window, by=by, columns=kept, where=wanted or None),
        lambda: rows(schema, window, scope=scope, columns=columns, where=where, by=by),
    )


def _read(
    key: tuple[Hashable, ...], version: Hashable, read: Callable[[], pl.DataFrame], ask: Callable[[], pl.DataFrame]
) -> pl.DataFrame:
    """Return a read of this version, cached; `ask` asks for it again after a change."""
    return _ASKED.read(key, _CACHE.get(key, lambda: _ASKED.same(key, read()), version=version), ask)


def again(stop: Callable[[], bool]) -> int:
    """Ask again for what pages read a short time ago, where it has changed, and return how many reads these are."""
    return _ASKED.again(stop)


def minute() -> datetime:
    """Return the present minute: what changes by itself is asked again as often."""
    return now().replace(second=0, microsecond=0)


def made(name: str, tables: Sequence[str], make: Callable[[], T], *, scope: Scope, **params: Any) -> T:
    """Return what a function makes of the store, cached under its name and parameters until a table changes.

    Of a parameter `now` the last one asked for is kept.
    """
    version = (hub().version(sorted(tables)), params.pop(_NOW, None))
    return _CACHE.get(("made", name, scope, tuple(sorted(params.items()))), make, version=version)


def kept(name: str, tables: Sequence[str], make: Callable[[], T], *, scope: Scope, **params: Any) -> T:
    """Return what `made` returns, and have it made again after a change, before anybody asks.

    The function is then called without a page: all that it makes is of the store and of what it holds itself.
    """
    value = made(name, tables, make, scope=scope, **params)
    key = ("kept", name, scope, tuple(sorted(params.items())))
    return _ASKED.read(key, value, lambda: kept(name, tables, make, scope=scope, **params))


def once(
    function: Callable[Concatenate[pl.DataFrame, P], T], frame: pl.DataFrame, /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Return what a pure function makes of a frame that a read above has returned: a chart, or another frame.

    A cached read gives the same object again, so its identity is the key; the entry keeps the frame alive. What
    is made of another frame is not kept: nobody could ask for it again. Of an argument `now` the last is kept.
    """
    if not _CACHE.holds(frame):
        return function(frame, *args, **kwargs)
    named = sorted((name, value) for name, value in kwargs.items() if name != _NOW)
    key = ("once", f"{function.__module__}.{function.__qualname__}", id(frame), repr(args), repr(named))
    value = _CACHE.get(key, lambda: (function(frame, *args, **kwargs), frame), version=kwargs.get(_NOW), of=frame)[0]
    again: Any = partial(once, function)
    _ASKED.part(frame, (key[1], *key[3:]), value, lambda newer: again(newer, *args, **_present(kwargs)))
    return value


def _present(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with the present minute for what was `now`."""
    return {**params, **({_NOW: minute()} if _NOW in params else {})}


def answer(question: str, *, scope: Scope, **params: Any) -> pl.DataFrame:
    """Return the rows of `queries/sql/QUESTION.sql`, cached; `$team` in it is '' for all teams.

    A viewer of role `team` gets an answer only from a question that takes `$team`.
    """
    at = hub()
    hashed = tuple(sorted((name, tuple(value) if isinstance(value, list) else value) for name, value in params.items()))
    return _read(
        ("answer", scope, question, tuple(each for each in hashed if each[0] != _NOW)),
        (at.version(sql.load(question).tables), params.get(_NOW)),
        lambda: answered(at, question, scope=scope, **params),
        lambda: answer(question, scope=scope, **_present(params)),
    )


def answered(at: Context, question: str, *, scope: Scope, **params: Any) -> pl.DataFrame:
    """Return what `answer` returns, from a context and uncached: for mails and commands.

    Raises: InputError: the question tells of all teams, and the scope is one team.
    """
    asked = sql.load(question)
    if "team" in asked.asks:
        params["team"] = _own(scope) if scope.is_limited else params.get("team", scope.team)
    elif scope.is_limited and question not in _OPEN_QUESTIONS:
        raise InputError(f"{question}: it tells of all teams", hint="ask an admin, or look at your own team's jobs")
    return at.store.select(asked.text, **params)


_OPEN_QUESTIONS: Final = frozenset({"freshness"})
"""Questions about the ledger itself, which tell of no team."""


DECISIONS: Final = frozenset({"findings", "incidents", "exemptions", "budgets"})
"""What viewers who are no admins may do."""


def act(name: str, **params: object) -> Any:
    """Run a service as the viewer, such as deciding on a finding, and return its result.

    Raises: InputError: it does not fit, or the viewer's role may not do it.
    """
    from app.services import named  # noqa: PLC0415  pages that only read need no service

    found = named(name)
    _may(viewer(), name, params)
    who = hub().person
    reset = acting.set((who() if who is not None else "") or "page")
    try:
        return found.run(hub(), found.asked(params))
    finally:
        acting.reset(reset)


def _may(scope: Scope, name: str, params: Mapping[str, object]) -> None:
    """Refuse what a viewer's role does not allow: others than admins decide, and a team about what is its own.

    Raises: InputError: it is not allowed.
    """
    if scope.role == "admin" or (name in DECISIONS and not scope.is_limited):
        return
    mine = [scope.of(team) for team in scope.teams] or [scope]
    if not any(_is_own(each, name, params) for each in mine):
        raise InputError(f"{name}: role {scope.role} may not do that", hint="ask an admin")


def _is_own(scope: Scope, name: str, params: Mapping[str, object]) -> bool:
    """Tell whether a decision is about what belongs to a team."""
    if name == "findings":
        return params.get("decide") in rows(Finding, scope=scope, columns=("finding_id",))["finding_id"]
    if name == "incidents":
        own = rows(IdleIncident, scope=scope, columns=("gpu_uuid", "opened_at"))
        return (params.get("gpu_uuid"), params.get("opened_at")) in own.rows()
    return False
