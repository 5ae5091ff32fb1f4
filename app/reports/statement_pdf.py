"""A statement as a PDF to print or to send: what is charged first, then by what, then how it was computed."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import matplotlib as mpl
from fpdf import FPDF
from fpdf.enums import Align, XPos, YPos
from fpdf.fonts import FontFace

from app import format as written
from app.reports.statement import STATUS_WORDS, TOP_RUNS, Statement, shown, top
from queries.measures import per_unit

_FONT: Final = "DejaVu"
_ACCENT: Final = (26, 127, 142)
_INK: Final = (29, 39, 49)
_FAINT: Final = (104, 116, 128)
_LINE: Final = (214, 220, 226)
_SHADE: Final = (244, 247, 249)
_TONES: Final = {True: (20, 128, 106), False: (178, 58, 75), None: (138, 148, 160)}
_MARGIN: Final = 16.0
_WIDTH: Final = 210 - 2 * _MARGIN
_BESIDE: Final = 4
"""Numbers that have place beside each other."""


class _Page(FPDF):
    """A4 with a footer that says what it is, and of how many pages."""

    def __init__(self, statement: Statement) -> None:
        super().__init__(format="A4")
        self._statement = statement
        fonts = f"{mpl.get_data_path()}/fonts/ttf"
        self.add_font(_FONT, "", f"{fonts}/DejaVuSans.ttf")
        self.add_font(_FONT, "B", f"{fonts}/DejaVuSans-Bold.ttf")
        self.set_margins(_MARGIN, _MARGIN, _MARGIN)
        self.set_auto_page_break(auto=True, margin=20)
        self.set_title(statement.title)
        self.set_creator("clusterledger")
        self.set_lang("en")
        self.set_creation_date(statement.made_at)

    def footer(self) -> None:
        """Say at the foot of each page what it belongs to."""
        self.set_y(-14)
        self.set_font(_FONT, "", 7)
        self.set_text_color(*_FAINT)
        made = f"{self._statement.title} · made {written.instant(self._statement.made_at)} by clusterledger"
        self.cell(_WIDTH - 20, 5, made)
        self.cell(20, 5, f"{self.page_no()} / {{nb}}", align=Align.R)


def pdf(statement: Statement) -> bytes:
    """Return a statement as a PDF file."""
    page = _Page(statement)
    page.add_page()
    _head(page, statement)
    for currency in statement.currencies:
        _currency(page, statement, currency)
    _invoices(page, statement)
    _notes(page, statement)
    return bytes(page.output())


def _head(page: _Page, statement: Statement) -> None:
    page.set_fill_color(*_ACCENT)
    page.rect(0, 0, 210, 3, style="F")
    page.set_font(_FONT, "B", 19)
    page.set_text_color(*_INK)
    page.cell(0, 10, f"Team {statement.team}", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    page.set_font(_FONT, "", 11)
    page.set_text_color(*_FAINT)
    state = "" if statement.is_over else ", preliminary: the month is not over"
    page.cell(
        0, 6, f"Statement of GPU and AI cost, {statement.month:%B %Y}{state}", new_x=XPos.LMARGIN, new_y=YPos.NEXT
    )
    page.ln(3)
    if statement.conversion:
        page.set_font(_FONT, "", 9)
        page.set_text_color(*_INK)
        page.multi_cell(_WIDTH, 5, statement.conversion, new_x=XPos.LMARGIN, new_y=YPos.NEXT, align=Align.L)
        page.ln(2)
    text, tone = statement.badge
    _badge(page, text, _TONES[tone])
    page.ln(4)


def _badge(page: _Page, text: str, colour: tuple[int, int, int]) -> None:
    page.set_font(_FONT, "B", 8)
    page.set_fill_color(*colour)
    page.set_text_color(255, 255, 255)
    page.cell(page.get_string_width(text) + 6, 6, text, fill=True, align=Align.C, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _currency(page: _Page, statement: Statement, currency: str) -> None:
    """Draw all that is charged in one currency."""
    _heading(page, f"Charged in {currency}", needs=75)
    totals = [
        statement.total(currency, name) for name in ("effective_cost", "productive_cost", "idle_cost", "billed_cost")
    ]
    labels = ("Effective cost", "Of it productive", "Of it held idle", "Billed in the month")
    _boxes(page, [(label, shown(total, currency)) for label, total in zip(labels, totals, strict=True)])
    rows = [
        (
            line["words"],
            written.gpu_hours(line["gpu_hours"]) if line["gpu_hours"] else "",
            *(
                shown(line[name], currency)
                for name in ("billed_cost", "effective_cost", "productive_cost", "idle_cost")
            ),
        )
        for line in statement.lines(currency)
    ]
    total = ("Total", "", *(shown(totals[index], currency) for index in (3, 0, 1, 2)))
    _table(
        page, ("What for", "Held", "Billed", "Effective", "Productive", "Idle"), rows, (44, 26, 28, 28, 28, 24), total
    )
    _units(page, statement, currency)
    for title, found in (("By model", statement.models), ("By user", statement.users)):
        _parts(page, title, top(found, currency, TOP_RUNS), currency)
    _parts(page, f"The {TOP_RUNS} dearest runs", top(statement.runs, currency, TOP_RUNS), currency, are_runs=True)


def _units(page: _Page, statement: Statement, currency: str) -> None:
    prices = statement.prices(currency)
    boxes = [
        (each.title, written.unit_price(prices[each.name], currency))
        for each in per_unit.OWNER_UNITS
        if each.name in prices
    ]
    idle = {row["billing_currency"]: row["effective_cost"] for row in statement.unheld.iter_rows(named=True)}
    if currency in idle:
        boxes.append(("Between runs, in no total", shown(idle[currency], currency)))
    for first in range(0, len(boxes), _BESIDE):
        _boxes(page, boxes[first : first + _BESIDE], is_small=True)


def _parts(page: _Page, title: str, rows: Sequence[dict[str, Any]], currency: str, *, are_runs: bool = False) -> None:
    if not rows:
        return
    # A row that is one run does not say that it is one.
    counted = () if are_runs else ("Runs",)
    cells = [
        (
            row["name"],
            *(f"{row['run_count']:,}" for _ in counted),
            written.gpu_hours(float(row["held_gpu_seconds"]) / 3600),
            shown(row["effective_cost"], currency),
            shown(row["productive_cost"], currency),
            shown(row["idle_cost"], currency),
        )
        for row in rows
    ]
    widths = (78,) if are_runs else (62, 16)
    _table(page, (title, *counted, "Held", "Effective", "Productive", "Idle"), cells, (*widths, 26, 26, 26, 22))


def _invoices(page: _Page, statement: Statement) -> None:
    if statement.invoices.is_empty():
        return
    _heading(page, "The invoices behind it")
    rows = [
        (
            row["provider"],
            row["invoice_id"] or "not issued yet",
            row["billing_currency"],
            STATUS_WORDS.get(row["status"], row["status"]),
            written.instant(row["complete_through"]),
        )
        for row in statement.invoices.iter_rows(named=True)
    ]
    headings = ("Provider", "Invoice", "Currency", "Reconciliation", "Billed through")
    _table(page, headings, rows, (36, 40, 18, 54, 30), numbers_from=9)


def _notes(page: _Page, statement: Statement) -> None:
    _heading(page, "How it was computed", needs=12 + 6 * len(statement.notes))
    page.set_font(_FONT, "", 8)
    page.set_text_color(*_INK)
    for note in statement.notes:
        if page.will_page_break(3 * 4.2):
            page.add_page()
        page.cell(4, 4.2, "·")
        page.multi_cell(_WIDTH - 4, 4.2, note, new_x=XPos.LMARGIN, new_y=YPos.NEXT, align=Align.L)
        page.ln(1)


def _heading(page: _Page, text: str, *, needs: float = 24) -> None:
    """Draw a heading; on a new page where less room is left than what follows needs."""
    if page.will_page_break(needs):
        page.add_page()
    page.ln(3)
    page.set_font(_FONT, "B", 12)
    page.set_text_color(*_ACCENT)
    page.cell(0, 7, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    page.ln(1)


def _boxes(page: _Page, boxes: Iterable[tuple[str, str]], *, is_small: bool = False) -> None:
    """Draw numbers beside each other, each under its label."""
    drawn = list(boxes)
    width, height = (_WIDTH - 3 * (len(drawn) - 1)) / len(drawn), 11 if is_small else 15
    if page.will_page_break(height):
        page.add_page()
    top_edge = page.get_y()
    for index, (label, value) in enumerate(drawn):
        left = _MARGIN + index * (width + 3)
        page.set_fill_color(*_SHADE)
        page.rect(left, top_edge, width, height, style="F", round_corners=True, corner_radius=1.5)
        page.set_xy(left + 2, top_edge + 1.5)
        page.set_font(_FONT, "", 6.5 if is_small else 7)
        page.set_text_color(*_FAINT)
        page.cell(width - 4, 3.5, label)
        page.set_xy(left + 2, top_edge + (5.2 if is_small else 6.2))
        page.set_font(_FONT, "B", 9 if is_small else 12)
        page.set_text_color(*_INK)
        page.cell(width - 4, 4.5 if is_small else 6, value)
    page.set_xy(_MARGIN, top_edge + height + 3)


def _table(
    page: _Page,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    widths: Sequence[float],
    total: Sequence[str] = (),
    *,
    numbers_from: int = 1,
) -> None:
    """Draw a table; columns from `numbers_from` on stand to the right. Its head is repeated on each page."""
    if not rows:
        return
    page.set_font(_FONT, "", 7.5)
    page.set_text_color(*_INK)
    page.set_draw_color(*_LINE)
    page.set_fill_color(255, 255, 255)
    align = ["LEFT" if index < numbers_from else "RIGHT" for index in range(len(headings))]
    head = FontFace(emphasis="BOLD", color=_FAINT, fill_color=(255, 255, 255))
    with page.table(
        col_widths=tuple(widths),
        text_align=tuple(align),
        borders_layout="HORIZONTAL_LINES",
        headings_style=head,
        line_height=4.4,
        padding=(0.9, 1, 0.9, 1),
        width=_WIDTH,
        align="LEFT",
    ) as table:
        for cells in (headings, *rows):
            table.row([str(cell) for cell in cells])
        if total:
            table.row([str(cell) for cell in total], style=FontFace(emphasis="BOLD", fill_color=_SHADE))
    page.ln(4)
