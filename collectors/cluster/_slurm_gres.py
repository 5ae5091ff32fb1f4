"""Generic resources as Slurm writes them: how many devices a node has, and which of them a job got."""

import re
from dataclasses import dataclass
from typing import Final

from collectors._slurm_text import numbers
from collectors.cluster._devices import WHOLE

_PART: Final = re.compile(r"[^,()]+(?:\([^()]*\))*")
_DETAIL: Final = re.compile(r"\(([^()]*)\)")
_SHARED: Final = ("shard", "mps")
_PROFILE: Final = re.compile(r"(?:\d+c\.)?\d+g\.\d+gb\S*", re.IGNORECASE)
_COUNT: Final = re.compile(r"(\d+)([KMGT]?)")
_SIZES: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Devices:
    """How many GPUs a node has, into how many parts each is divided where they are shared, and of which kinds.

    Kinds are told where a GPU is cut: MIG profiles, '' for whole devices, with how many there are. Slurm counts devices
    kind by kind, in the order of the node's text, however gres.conf orders them; but what it detects by itself, it
    counts in an order of its own, in which kinds mix (both seen with 22.05).
    """

    gpu_count: int
    parts_each: int = 0
    kinds: tuple[tuple[str, int], ...] = ()

    def all(self) -> list["Got"]:
        """Return all devices, whole."""
        kinds = self._by_index()
        if not self.kinds:
            return [Got(index, None) for index in range(len(kinds))]
        return [Got(None, None, profile or WHOLE, kinds[:n].count(profile)) for n, profile in enumerate(kinds)]

    def device(self, index: int, profile: str) -> "Got":
        """Return the device of an index; where a GPU is cut, as the nth of its kind too, if kinds do not mix.

        Raises: ValueError: the node has no such index, or no device of this kind.
        """
        if not self.kinds:
            return Got(index, None, profile)
        kinds = self._by_index()
        if index >= len(kinds) or profile not in kinds:
            raise ValueError(f"GRES: found {profile or 'a whole device'} at {index}, expected it of the node's {kinds}")
        is_by_kind = kinds[index] == profile
        return Got(index, None, profile or WHOLE, kinds[:index].count(profile) if is_by_kind else None)

    def _by_index(self) -> list[str]:
        if not self.kinds:
            return [""] * self.gpu_count
        return [profile for profile, count in self.kinds for _ in range(count)]


@dataclass(frozen=True)
class Got:
    """One device of a node that a job got: its index, the share of it, None for the whole, and its kind.

    The index counts all devices of the node; None where a job has all of them. Where GPUs are cut, the kind is a MIG
    profile or `WHOLE`, and `nth` counts those of the kind; None where their order is Slurm's own.
    """

    index: int | None
    share_ratio: float | None
    kind: str = ""
    nth: int | None = None


def devices(gres: str) -> Devices:
    """Return the GPUs of a node's text, such as `gpu:h100:4(S:0-1),shard:h100:16`.

    Raises: ValueError: a count is no number.
    """
    gpus = shares = 0
    kinds: list[tuple[str, int]] = []
    for part in _PART.findall(_plain(gres)):
        fields = part.split("(")[0].removeprefix("gres/").split(":")
        if fields[0] == "gpu":
            gpus += _count(fields)
            kinds.append((_profile(fields), _count(fields)))
        elif fields[0] in _SHARED:
            shares += _count(fields)
    is_cut = any(profile for profile, _ in kinds)
    return Devices(gpus, shares // gpus if gpus else 0, tuple(kinds) if is_cut else ())


def got(gres: str, of: Devices | None) -> list[Got]:
    """Return the devices in a job's text for one node, such as `gpu:h100:2(IDX:0,3)`; none where no index is named.

    A MIG device counts as a GPU of its own, of a type that names its profile: `gpu:a100_1g.10gb:1(IDX:2)`. Shares of a
    device are named by the index of the GPU and how many parts of it: `shard:2(IDX:0)`, or by all GPUs with parts taken
    and parts there: `mps:50(50/100,0/100)`.

    Raises: ValueError: the text names indices that are none, or not as many devices as it counts.
    """
    found: list[Got] = []
    for part in _PART.findall(_plain(gres)):
        fields = part.split("(")[0].removeprefix("gres/").split(":")
        details = [each for each in _DETAIL.findall(part) if not each.startswith("S:")]
        if not details or fields[0] not in ("gpu", *_SHARED):
            continue
        if fields[0] in _SHARED:
            found += _shares(details[0], _count(fields), of)
            continue
        indices = numbers(details[0].removeprefix("IDX:"))
        if len(indices) != _count(fields) or len(set(indices)) != len(indices):
            raise ValueError(f"GRES: found {part!r}, expected an index for each device")
        profile = _profile(fields)
        found += [(of or Devices(0)).device(index, profile) for index in indices]
    return found


def _shares(detail: str, count: int, of: Devices | None) -> list[Got]:
    """Return the parts of devices that one job has."""
    if "/" in detail:
        return [Got(index, share) for index, part in enumerate(detail.split(",")) if (share := _ratio(part))]
    indices = numbers(detail.removeprefix("IDX:"))
    each = of.parts_each if of else 0
    equal = count / len(indices) / each if indices and each else None
    return [Got(index, None if equal is None or equal > 1 else equal) for index in indices]


def _ratio(part: str) -> float:
    """Return the share in `50/100`.

    Raises: ValueError: it is none, or more than the whole.
    """
    some, _, whole = part.partition("/")
    if not (some.isdecimal() and whole.isdecimal() and int(some) <= int(whole) and int(whole)):
        raise ValueError(f"GRES: found {part!r}, expected parts of a device")
    return int(some) / int(whole)


def _profile(fields: list[str]) -> str:
    """Return the MIG profile that a type names, such as `1g.10gb` of `a100_1g.10gb`; '' for a whole device."""
    found = _PROFILE.search(fields[1]) if len(fields) > 1 else None
    return found[0].lower() if found else ""


def _plain(gres: str) -> str:
    return "" if gres in {"(null)", "N/A"} else gres


def _count(fields: list[str]) -> int:
    """Return the count at the end of `gpu:h100:4`; `gpu` and `gpu:h100` are one.

    Raises: ValueError: the count is no number.
    """
    last = fields[-1]
    if len(fields) == 1 or not last[:1].isdigit():
        return 1
    match = _COUNT.fullmatch(last)
    if match:
        return int(match[1]) * _SIZES[match[2]]
    if len(fields) == 2:  # noqa: PLR2004  a type may begin with a digit: gpu:1g.10gb
        return 1
    raise ValueError(f"GRES: found {':'.join(fields)!r}, expected a count at its end")
