"""The command that asks what the same work would cost elsewhere."""

from decimal import Decimal
from typing import Annotated, Any

import typer

from app.cli._options import Json, Store, asked
from app.cli._output import as_json, as_records, remark

_WORKS = ("work", "existing_gpu_hours", "held_ratio", "month_cost", "billing_currency", "best", "saving_month_cost")
_OPTIONS = ("option", "kind", "month_cost", "billing_currency", "saving_month_cost", "break_even_ratio", "source")


def add(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    cli.command("what-if")(what_if)


def what_if(
    days: Annotated[int, typer.Option("--days", metavar="N", help="Of the work of this many days, to yesterday.")] = 30,
    cluster: Annotated[str, typer.Option("--cluster", metavar="NAME", help="Of one cluster.")] = "",
    team: Annotated[str, typer.Option("--team", metavar="NAME", help="Of one team.")] = "",
    work: Annotated[str, typer.Option("--work", metavar="NAME", help="Of this kind of work, as listed.")] = "",
    basis: Annotated[str, typer.Option("--basis", metavar="WORD", help="Count held, existing or productive.")] = "held",
    gpu: Annotated[str, typer.Option("--gpu", metavar="MODEL", help="On another GPU, such as A100.")] = "",
    speed: Annotated[str, typer.Option("--speed", metavar="X", help="Its work in an hour of the present one.")] = "1",
    rerun: Annotated[str, typer.Option("--rerun", metavar="RATIO", help="Work that spot does twice.")] = "",
    spot: Annotated[str, typer.Option("--spot-discount", metavar="RATIO", help="Where no list has spot.")] = "",
    one_year: Annotated[str, typer.Option("--one-year-discount", metavar="RATIO", help="Of a commitment.")] = "",
    three_years: Annotated[str, typer.Option("--three-year-discount", metavar="RATIO", help="Of a commitment.")] = "",
    purchase: Annotated[str, typer.Option("--purchase", metavar="AMOUNT", help="Price of an owned server.")] = "",
    currency: Annotated[str, typer.Option("--currency", metavar="CODE", help="Currency of that price.")] = "",
    gpus: Annotated[int | None, typer.Option("--gpus", metavar="N", help="GPUs of an owned server.")] = None,
    life: Annotated[str, typer.Option("--life", metavar="YEARS", help="Years of its use.")] = "",
    month: Annotated[str, typer.Option("--month-cost", metavar="AMOUNT", help="Its space, staff and support.")] = "",
    json: Json = False,
    store: Store = None,
) -> None:
    """Price the same work elsewhere: rented, on spot, committed, owned, or a base with the rest rented."""
    stated = {
        "rerun_ratio": rerun, "spot_discount": spot, "one_year_discount": one_year, "three_year_discount": three_years,
        "purchase_cost": purchase, "billing_currency": currency, "gpu_count": gpus, "life_years": life,
        "month_cost": month,
    }  # fmt: skip
    given: dict[str, Any] = {name: value for name, value in stated.items() if value not in {"", None}}
    found = asked(
        "what_if", store, days=days, cluster=cluster, team=team, work=work, basis=basis, accelerator=gpu, speed=speed,
        **given,
    )  # fmt: skip
    if json:
        as_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    """Print the kinds of work, then the ways to do the chosen one, and say what has no price."""
    as_records([_short(each) for each in found["works"]], _WORKS)
    if not found["work"]:
        remark("no device was seen in these days: start `clusterledger agent` on nodes with GPUs")
        return
    print(f"\n{found['work']}, a month of it:")
    as_records([_short(each) for each in found["options"]], _OPTIONS)
    for each in found["options"]:
        if each["reason"]:
            remark(f"not priced: {each['option']}: {each['reason']}")
    for each in found["not_priced"]:
        remark(f"not priced: {each['name']}: {each['reason']}")


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """Return amounts in cents and shares in thousandths, for the eye; JSON has every digit."""
    return {
        name: f"{Decimal(value):.2f}"
        if name.endswith("_cost") and value is not None
        else round(value, 3)
        if isinstance(value, float)
        else value
        for name, value in row.items()
    }
