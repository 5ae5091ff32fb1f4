"""What HAMi notes on a node: the devices that it divides."""

import json
from typing import Final

from collectors.cluster._kubernetes_objects import Meta

_REGISTERED: Final = "hami.io/node-nvidia-register"


def registered(meta: Meta) -> dict[str, float]:
    """Return the mebibytes of each device that HAMi divides on a node; older versions write no JSON."""
    text = (meta.annotations or {}).get(_REGISTERED, "")
    try:
        told = json.loads(text) if text.startswith("[") else [_of_words(each) for each in text.split(":") if each]
        return {str(each["id"]): float(each["devmem"]) for each in told if float(each["devmem"]) > 0}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # Whoever may annotate a node may write anything there.
        return {}


def _of_words(entry: str) -> dict[str, str]:
    words = entry.split(",")
    return {"id": words[0], "devmem": words[2]} if len(words) > 2 else {}  # noqa: PLR2004  id, count, memory
