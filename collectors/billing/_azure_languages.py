"""In which language the columns of an Azure cost export are named, and what to do where that is not read."""

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from collectors.billing._azure_columns import folded, found, is_translated
from collectors.billing._format import Head, Near
from ledger.words import amount

_OWN_NAMES: Final[Mapping[str, str]] = {
    "cost": "CostInBillingCurrency, Cost or PreTaxCost",
    "day": "Date or UsageDateTime",
    "meter_category": "MeterCategory",
    "subscription": "SubscriptionId",
}
"""What an export has in every variant, as Azure calls it."""

_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "German": ("kosten", "wahrung", "datum", "menge", "abonnement", "verbrauch", "einheit", "ressourcen", "dienst"),
    "French": (
        "cout",
        "devise",
        "quantite",
        "abonnement",
        "compteur",
        "mesure",
        "facturation",
        "ressources",
        "balises",
    ),
    "Spanish": ("costo", "coste", "moneda", "fecha", "suscripcion", "medidor", "cantidad", "recurso", "etiquetas"),
    "Portuguese": ("custo", "moeda", "assinatura", "medidor", "quantidade", "recurso", "fatura"),
    "Italian": ("costo", "valuta", "sottoscrizione", "abbonamento", "contatore", "quantita", "risorsa", "fatturazione"),
    "Dutch": ("kosten", "valuta", "datum", "hoeveelheid", "abonnement", "verbruik", "meetcategorie", "facturering"),
    "Polish": ("koszt", "waluta", "subskrypcji", "miernik", "ilosc", "zasob"),
    "Turkish": ("maliyet", "abonelik", "tarih", "miktar", "kaynak"),
    "Swedish": ("kostnad", "valuta", "prenumeration", "kvantitet", "matare", "resurs"),
}
_SCRIPTS: Final = (
    ("HIRAGANA", "Japanese"),
    ("KATAKANA", "Japanese"),
    ("HANGUL", "Korean"),
    ("CYRILLIC", "Russian"),
    ("CJK", "Chinese"),
)
_STEMS: Final = (
    "azure",
    "subscription",
    "meter",
    "verbrauchseinheit",
    "abonnement",
    "compteur",
    "medidor",
    "suscripcion",
    "assinatura",
    "sottoscrizione",
    "contatore",
    "subskryp",
    "abonelik",
    "prenumeration",
    "サブスクリプション",
    "メーター",
    "测定",
    "計量",
    "计量",
    "订阅",
    "訂閱",
    "구독",
    "미터",
    "подписк",
)
_ENOUGH_WORDS: Final = 3
_ENOUGH_COLUMNS: Final = 4
_SHOWN_COLUMNS: Final = 12
_SHOWN_CHARACTERS: Final = 40


def language(names: Iterable[str]) -> str | None:
    """Return the language that column names look like; None where they are English, or of no language known here."""
    names = list(names)
    letters = {unicodedata.name(each, "").partition(" ")[0] for name in names for each in name if each.isalpha()}
    told = next((name for script, name in _SCRIPTS if script in letters), None)
    if told is not None:
        return told
    plain = [folded(name.partition("(")[0].rstrip() or name) for name in names]
    seen = {each: sum(any(word in name for word in words) for name in plain) for each, words in _WORDS.items()}
    best = max(seen, key=lambda each: seen[each])
    return best if seen[best] >= _ENOUGH_WORDS else None


def is_local(names: Iterable[str]) -> bool:
    """Tell whether an export is one in another language than English, whose numbers and days may be written so."""
    names = list(names)
    return language(names) is not None or any(is_translated(each) for each in names)


def near(head: Head) -> Near | None:
    """Say what a file lacks to be an export of Azure, where its columns look like those of one."""
    columns = found(head.columns)
    spoken = language(head.columns)
    hints = _hints(head.columns)
    if not hints or (spoken is None and len(columns) < _ENOUGH_COLUMNS):
        return None
    present = columns.keys() | ({"subscription"} if "subscription_name" in columns else set())
    lacking = [own for ours, own in _OWN_NAMES.items() if ours not in present]
    shown = ", ".join(" ".join(each.split())[:_SHOWN_CHARACTERS] for each in head.columns[:_SHOWN_COLUMNS])
    left = len(head.columns) - _SHOWN_COLUMNS
    more = f" and {amount(left, 'more column')}" if left > 0 else ""
    kind = f"columns that look {spoken}" if spoken else "columns"
    hint = "include them in the export, or export it again"
    if spoken is not None:
        hint = "set the Azure portal to English (Settings, Language + region), and create or download the export again"
    return Near(
        found=f"{kind} ({shown}{more}), none of them {', nor '.join(lacking)}",
        expected="an Azure cost export, with Azure's own column names or these in brackets, `Kosten (Cost)`",
        hint=hint,
    )


def _hints(names: Iterable[str]) -> int:
    """Return how many columns speak of what Azure's exports are about."""
    return sum(any(stem in folded(name) for stem in _STEMS) for name in names)
