"""Commands for the operator."""

from typing import Annotated

import typer

from app.cli._options import Json, Store, asked, settings
from app.cli._output import as_json, remark, show
from ledger.errors import ConfigError


def add(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    cli.command()(check)
    cli.command()(config)
    tokens = typer.Typer(
        help="Make, revoke and list the tokens of agents.", rich_markup_mode=None, no_args_is_help=True
    )
    for command in (create, revoke, listed):
        tokens.command("list" if command is listed else None)(command)
    cli.add_typer(tokens, name="token")


def check(json: Json = False, store: Store = None) -> int:
    """Say what works here and what does not: configuration, store, connections and permissions."""
    found = asked("check", store)
    if json:
        as_json(found)
    else:
        for each in found:
            print(f"{each['status']:<8} {each['part']}: {each['found']}")
            if each["hint"] and each["status"] != "ok":
                print(f"{'':<8} hint: {each['hint']}")
    return 1 if any(each["status"] == "failed" for each in found) else 0


def config(json: Json = False) -> None:
    """Print every key of the configuration with its default, its range and its meaning."""
    from app.services.check import refuse_problems  # noqa: PLC0415  what other commands do not need
    from app.services.config import every_key  # noqa: PLC0415  as above

    found = every_key()
    show(found, ("key", "default", "range", "meaning"), cut=False, json=json)
    try:
        refuse_problems(settings(None))
    except ConfigError as error:
        # The usual hint is this command.
        raise ConfigError(error.message, hint="correct it; the keys above are all that are known") from None


def create(
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node whose rows it may write.")],
    cluster: Annotated[
        str, typer.Option("--cluster", metavar="CLUSTER", help="The cluster that the node belongs to.")
    ] = "default",
    json: Json = False,
    store: Store = None,
) -> None:
    """Make a token for a node and print it: it is stored hashed and never shown again."""
    made = asked("tokens", store, action="create", node=node, cluster=cluster)[0]
    if json:
        as_json(made)
    else:
        print(made["token"])
        remark(f"set agent.token on {node}; this is the only time it is shown")
        if made["older_count"]:
            older = f"clusterledger token revoke {node} --older --cluster {made['cluster']}"
            remark(f"its older tokens hold until `{older}`")
    _warn_of_another_store(store)


def _warn_of_another_store(store: str | None) -> None:
    """Say where a token went that no hub may know: a store is made where there was none."""
    from app.services._hub_file import found, hub_file  # noqa: PLC0415  what other commands do not need

    url = settings(store).store.url
    if hub_file(url) is not None and found(url) is None:
        remark(
            f"it is in {url}, which no hub has open now: if the hub's is another one, see --store and revoke this one"
        )


def revoke(
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node that may write no more.")],
    older: Annotated[
        bool, typer.Option("--older", help="Keep the newest: first make one and set it on the node.")
    ] = False,
    cluster: Annotated[str, typer.Option("--cluster", metavar="CLUSTER", help="Only those for this cluster.")] = "",
    json: Json = False,
    store: Store = None,
) -> None:
    """Revoke all tokens of a node, or all but the newest."""
    _show(asked("tokens", store, action="revoke", node=node, older=older, cluster=cluster), json=json)


def listed(json: Json = False, store: Store = None) -> None:
    """List tokens by node, without the tokens themselves."""
    _show(asked("tokens", store), json=json)


def _show(rows: list[dict[str, object]], *, json: bool) -> None:
    show(rows, ("cluster", "node", "created_at", "revoked_at", "token_sha256"), json=json)
