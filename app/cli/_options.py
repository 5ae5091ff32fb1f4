"""Options that several commands share, and how a command reaches its service."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from app.services import Progress, named, silent
from app.services._call import call
from ledger.config import Settings, load
from ledger.errors import InputError

# Typer's own copy of Click's error that knows its command, by the one name of it that is public.
_MISUSED: Final[type[Exception]] = typer.BadParameter.__mro__[1]

Store = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", help="Use this store, such as duckdb:PATH, in the place of the configured one."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document; money in it is text.")]


def settings(store: str | None, **sections: Mapping[str, Any]) -> Settings:
    """Return the configuration with what the command's options say."""
    given = {name: {key: each for key, each in values.items() if each is not None} for name, values in sections.items()}
    if store is not None:
        given["store"] = {**given.get("store", {}), "url": store if ":" in store else f"duckdb:{store}"}
    return load(None, **{name: values for name, values in given.items() if values})


def asked(name: str, store: str | None, progress: Progress = silent, **params: object) -> Any:
    """Run a service where the store is, and return plain values."""
    service = named(name)
    try:
        wanted = service.asked(params)
    except InputError as error:
        # Who typed a command is shown that command's help.
        raise _MISUSED(error.message) from None
    return call(service, wanted, settings(store), progress)


def instant(text: str | None, option: str) -> datetime | None:
    """Return an instant that somebody typed for an option; without a zone it is UTC."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"found {text!r}, expected an instant such as 2026-11-20 or 2026-11-20T05:00Z", param_hint=option
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


@contextmanager
def bar() -> Iterator[Progress]:
    """Show a progress bar on stderr while work is done, where somebody watches."""
    from rich.console import Console  # noqa: PLC0415  a node with the agent alone has no rich
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415  as above
    from rich.progress import Progress as Bar  # noqa: PLC0415  as above

    columns = (TextColumn("{task.description:<28}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Bar(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=1.0)

        def told(phrase: str, share: float) -> None:
            shown.update(task, description=phrase, completed=share)

        yield told
