"""Bringing bills, invoices, price lists and scheduler dumps in, and what became of them."""

import tempfile
from pathlib import Path
from typing import Any, Final

import polars as pl
import streamlit as st

from app import cards, controls, data, links, sums, table
from app import format as written
from app.page import page
from app.table import Column
from app.views import _snapshots
from ledger.errors import ClusterLedgerError
from queries.measures import invoices as measures

_SAID: Final = "import_outcome"
_ROUND: Final = "import_round"
_DETECT: Final = "detect it"

_HINTS: Final = {
    "decimal number": "write the amount with a point, without separators of thousands",
    "three letters": "write the currency's code, such as USD",
    "an instant": "write it as 2026-01-31T00:00:00Z",
    "a value": "fill the cell; a column that is missing everywhere can be stated in money.bill_defaults",
    r"^\d+ cells|^\d+$": "put cells that hold a separator or a line feed into quotes",
    "one of": "write one of these words",
    "end after|or later": "look at the two dates: they stand the wrong way round",
}
"""What to do about a refused row, by what was expected of it."""


@page("Import", section="Money", order=9, icon=":material/upload_file:", path="import", roles=("admin",))
def imports() -> None:
    """Take files in, say what came of each, and let what waits be accepted."""
    found = controls.answer("bill_imports")
    with cards.row(4):
        cards.taken(measures.WAITING_COUNT, found)
        cards.taken(measures.COUNTING_COUNT, found)
        last = found.row(0, named=True)["imported_at"] if found.height else None
        cards.card("Last import", f"{last:%-d %b}" if last else written.UNKNOWN, f"{last:%H:%M} UTC" if last else "")
    if found.is_empty():
        st.info(
            "No bill was imported yet. Drop one below, or use `clusterledger ingest PATH`, or let the hub fetch bills "
            "from a bucket or a folder: section `[bills.NAME]` in `clusterledger.toml`."
        )
    _upload()
    _outcomes()
    _waiting(found.filter(pl.col("status") == "waiting"))
    _so_far(found)
    _places()


def _upload() -> None:
    """Take files, one after another, and remember what came of them."""
    turn = st.session_state.setdefault(_ROUND, 0)
    files = st.file_uploader(
        "Bills (FOCUS, AWS, Azure, Google, OCI), invoices, billing periods, price lists, inventories, scheduler dumps",
        accept_multiple_files=True,
        key=f"files-{turn}",
        help="Drop several at once. What is larger than the limit goes with `clusterledger ingest PATH`.",
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        format_ = st.selectbox("Format", [_DETECT, *_formats()], key="import-format", width=220)
        is_asked = st.button("Import", type="primary", disabled=not files, icon=":material/upload:")
    if not (is_asked and files):
        return
    bar = st.progress(0.0, "Reading")
    told = []
    with tempfile.TemporaryDirectory(prefix="clusterledger-upload-") as folder:
        for index, each in enumerate(files):
            name = Path(each.name).name
            bar.progress(index / len(files), f"{name} ({index + 1} of {len(files)})")
            path = Path(folder) / str(index) / name
            path.parent.mkdir()
            path.write_bytes(each.getbuffer())
            told.append(_imported(path, name, "" if format_ == _DETECT else str(format_)))
    bar.empty()
    st.session_state[_SAID] = told
    st.session_state[_ROUND] = turn + 1
    st.rerun()


def _formats() -> list[str]:
    from app.services._dumps import formats  # noqa: PLC0415  pages that only read need no reader
    from collectors.billing._read import bill_formats  # noqa: PLC0415  as above

    return sorted({*bill_formats(), *formats()})


def _imported(path: Path, name: str, format_: str) -> dict[str, Any]:
    """Import one file and return what came of it; an error is a part of that."""
    try:
        result: dict[str, Any] = data.act("ingest", paths=[str(path)], names=[name], format=format_)["files"][0]
    except ClusterLedgerError as error:
        return {"path": name, "rows": 0, "rejected": 0, "error": error.message, "hint": error.hint}
    return result


def _outcomes() -> None:
    """Say what came of the files of this visit, what is wrong with which of their rows, and what to do next."""
    told: list[dict[str, Any]] = st.session_state.get(_SAID, [])
    for each in told:
        _outcome(each)
    if not told:
        return
    _refused([each for each in told if each.get("faults")])
    pace = written.duration(data.settings().hub.rollup_every_seconds)
    st.caption(f"Costs, allocations and invoices are computed anew within {pace}. Next:")
    with st.container(horizontal=True):
        links.to("invoices", "Does it match the invoice?")
        links.to("cost", "What it costs, by team")
        links.to("data_health", "What found no node")


def _outcome(each: dict[str, Any]) -> None:
    kind = " ".join(filter(None, (each.get("format"), each.get("version"))))
    rows = _rows(each["rows"]) + (f" of {kind}" if kind else "")
    billed = sums.shown(each.get("billed_cost", {}), compact=False)
    money = f", {billed} billed" if each.get("billed_cost") else ""
    if each.get("error"):
        said = str(each["error"]).removeprefix(f"{each['path']}: ")
        (st.warning if each["rows"] else st.error)(f"**{each['path']}**: {said}  \n{_on_a_page(each.get('hint', ''))}")
    elif each.get("is_unchanged"):
        st.info(f"**{each['path']}**: {rows}{money}. It was imported before: nothing changed.")
    else:
        were = "was" if each["rejected"] == 1 else "were"
        refused = f" {_rows(each['rejected'])} {were} refused, see below." if each["rejected"] else ""
        st.success(f"**{each['path']}**: {rows}{money}.{refused}")
    for text in each.get("remarks", []):
        st.caption(f"{each['path']}: {text}")


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{written.count(count)} rows"


def _on_a_page(hint: str) -> str:
    """Return a hint of the command line as one for the page."""
    hint = hint.replace("import it again with --accept", "accept it below").replace("with --format", "above")
    return f"{hint[:1].upper()}{hint[1:]}." if hint else ""


def _refused(files: list[dict[str, Any]]) -> None:
    """Show what is wrong, each fault once: in how many rows, where the first stands, what was found and expected."""
    if not files:
        return
    faults = [{"source": file["path"], **fault} for file in files for fault in file["faults"]]
    st.subheader("Refused rows", anchor=False)
    st.caption("The other rows are in. Correct these in the file and import it again under the same name.")
    columns = {
        "found": Column("Found"),
        "expected": Column("Expected"),
        "hint": Column("What to do"),
        "table_name": Column("Table"),
    }
    table.show(
        told_apart(pl.DataFrame(faults)),
        {
            "source": Column("File"),
            "row_count": Column("Rows", "count", "How many rows are wrong in this way."),
            "place": Column("First at"),
            **columns,
        },
        key="faults",
        file_name="faults",
    )
    with st.expander("Each refused row"):
        names = "".join(f"{file['path']}\n" for file in files)
        rows = data.answer("refused_of_files", scope=controls.scope(), sources=names)
        st.caption("Those of earlier imports under these names too, the newest 1,000; `rejected_row` has them all.")
        table.show(
            data.once(told_apart, rows),
            {"source": Column("File"), "place": Column("Where"), **columns},
            key="refused",
            file_name="refused-rows",
        )


def told_apart(rows: pl.DataFrame) -> pl.DataFrame:
    """Return refusals with their place, what was found, what was expected and what to do apart."""
    reason = pl.col("reason")
    place = reason.str.extract(r"^(?:.*?: )?((?:line|row) \d+(?:, column [^:]+)?): ").fill_null(
        reason.str.extract(r"^([^:]+): ")
    )
    parted = rows.with_columns(
        place.alias("place"),
        pl.coalesce(reason.str.extract(r": found (.*), expected "), reason.str.extract(r"^[^:]+: (.*)$"), reason).alias(
            "found"
        ),
        reason.str.extract(r", expected (.*)$").alias("expected"),
    )
    hints = [pl.when(pl.col("expected").str.contains(pattern)).then(pl.lit(hint)) for pattern, hint in _HINTS.items()]
    return parted.with_columns(pl.coalesce(*hints, pl.lit("correct the row")).alias("hint"))


def _waiting(rows: pl.DataFrame) -> None:
    """Show what waits, what it would change, and let it be accepted."""
    if rows.is_empty():
        return
    st.subheader("Waiting for you", anchor=False)
    for (import_id,), units in rows.partition_by("import_id", as_dict=True, maintain_order=True).items():
        first = units.row(0, named=True)
        with st.container(border=True):
            st.markdown(f"**{first['path']}**, imported {written.instant(first['imported_at'])}")
            _snapshots.changes(str(import_id))
            if st.button("Accept it", key=f"accept-{import_id}", type="primary"):
                data.act("bills", action="accept", import_id=import_id)
                st.session_state.pop(_SAID, None)
                st.rerun()


def _so_far(found: pl.DataFrame) -> None:
    if found.is_empty():
        return
    st.subheader("Imports so far", anchor=False)
    st.caption("All are kept. Select one to see what it changed.")
    picked = table.show(
        found,
        {
            "imported_at": Column("Imported", "instant"),
            "status": Column("Status", help="current: its charges count; superseded: a later one replaced it; waiting"),
            "source_name": Column("Source"),
            "format": Column("Format"),
            "billing_account_id": Column("Account"),
            "billing_period_start": Column("Period", "month"),
            "row_count": Column("Rows", "count"),
            "rejected_count": Column("Refused", "count"),
            "billed_cost": Column("Billed", "money"),
            "effective_cost": Column("Effective", "money"),
            "billing_currency": Column("Currency"),
            "complete_through": Column("Complete to", "instant"),
        },
        key="imports",
        file_name="imports",
        select=True,
    )
    if picked:
        _snapshots.changes(str(picked["import_id"]))


def _places() -> None:
    """Show the files of bills that the hub fetches, and let it look now."""
    places = data.settings().bills
    if not places:
        return
    st.subheader("Places that the hub looks into", anchor=False)
    for name, place in places.items():
        st.caption(f"`{name}`: {place.url}, every {written.duration(place.every_seconds)}")
    if st.button("Look now", icon=":material/sync:"):
        with st.spinner("Looking"):
            for each in data.act("bills", action="fetch"):
                if each.get("error"):
                    st.error(f"{each['source']}: {each['error']}  \n{each['hint']}")
    objects = controls.answer("bill_objects")
    if objects.is_empty():
        st.caption("Nothing was fetched yet.")
        return
    table.show(
        objects,
        {
            "bill_name": Column("Place"),
            "path": Column("File"),
            "status": Column("Status"),
            "message": Column("What came of it"),
            "size_bytes": Column("Size", "bytes"),
            "modified_at": Column("Changed", "instant"),
            "fetched_at": Column("Fetched", "instant"),
        },
        key="objects",
        file_name="bill-files",
    )
