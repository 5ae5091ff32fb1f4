"""Commands that serve: the hub, and the demo data."""

from typing import Annotated

import typer

from app.cli._options import Json, Store, asked, bar, settings
from app.cli._output import as_json, remark

Gpus = Annotated[int, typer.Option("--gpus", metavar="N", min=8, max=100_000, help="Simulate this many GPUs.")]
Days = Annotated[int, typer.Option("--days", metavar="D", min=1, max=366, help="Simulate this many days, up to now.")]
Seed = Annotated[
    int, typer.Option("--seed", metavar="S", min=0, help="Draw from this seed: the same seed gives the same cluster.")
]


def add(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    cli.command()(up)
    cli.command()(demo)


def up(
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="Listen on this address; the default is loopback.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="PORT", min=0, max=65535, help="Listen on this port; 0 takes a free one."),
    ] = None,
    with_demo: Annotated[
        bool, typer.Option("--demo", help="Fill an empty store with a simulated cluster and its bills first.")
    ] = False,
    store: Store = None,
) -> None:
    """Start the hub: it serves the pages and the API, takes samples from agents, and computes what is due."""
    from app.context import Context  # noqa: PLC0415  Streamlit and DuckDB take a second to import
    from app.hub import refuse_second, serve  # noqa: PLC0415  as above
    from app.services import named  # noqa: PLC0415  as above
    from app.services.check import refuse_problems  # noqa: PLC0415  as above

    chosen = settings(store, hub={"host": host, "port": port})
    refuse_second(chosen.store.url)
    refuse_problems(chosen)
    context = Context(chosen)
    try:
        if with_demo:
            service = named("demo")
            with bar() as progress:
                service.run(context, service.asked({"only_if_empty": True}), progress)
        serve(context, lambda address: print(address, flush=True))
    finally:
        context.close()


def demo(gpus: Gpus = 96, days: Days = 30, seed: Seed = 1, json: Json = False, store: Store = None) -> None:
    """Write a simulated cluster, its bills and its rollups into the store, without serving."""
    with bar() as progress:
        written = asked("demo", store, progress, gpus=gpus, days=days, seed=seed)
    if json:
        as_json(written)
    else:
        remark(", ".join(f"{name}: {value}" for name, value in written.items()))
