"""Generic resources as Slurm writes them: how many devices a node has, and which of them a job got."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from collectors._slurm_text import numbers
from collectors.cluster._devices import UNSURE, WHOLE

_PART: Final = re.compile(r"[^,()]+(?:\([^()]*\))*")
_DETAIL: Final = re.compile(r"\(([^()]*)\)")
_SHARED: Final = ("shard", "mps")
_NO_INDEX: Final = ("S:", "CNT:")
"""Sockets of a device, and how many a job got of what has no index."""

_MOST_DEVICES: Final = 10_000
_PROFILE: Final = re.compile(r"(?:\d+c\.)?\d+g\.\d+gb\S*", re.IGNORECASE)
_COUNT: Final = re.compile(r"(\d+)([KMGT]?)")
_SIZES: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Devices:
    """How many GPUs a node has, of which kinds, and into how many parts each is divided where they are shared.

    Kinds are told where a GPU is cut: MIG profiles, '' for whole devices, with how many there are. Slurm counts devices
    kind by kind, in the order of the node's text, however gres.conf orders them; but what it detects by itself, it
    counts in an order of its own, in which kinds mix (both seen with 22.05). Parts are told for shards and for MPS, by
    index.
    """

    gpu_count: int
    parts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
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

    def shared(self, index: int, profile: str | None, share_ratio: float | None) -> "Got":
        """Return a share of the device of an index; the kind is None where Slurm does not say it.

        It shares out MIG devices as it does whole ones, and says of which kind one is only where a job asked for a
        kind. Else it is the one that stands there in the node's text, unless an agent tells otherwise.

        Raises: ValueError: the node has no such index, or no device of this kind.
        """
        kinds = self._by_index()
        if not self.kinds or profile is not None or index >= len(kinds):
            return replace(self.device(index, profile or ""), share_ratio=share_ratio)
        kind = kinds[index]
        return Got(index, share_ratio, UNSURE + (kind or WHOLE), kinds[:index].count(kind))

    def _by_index(self) -> list[str]:
        if not self.kinds:
            return [""] * self.gpu_count
        return [profile for profile, count in self.kinds for _ in range(count)]


@dataclass(frozen=True)
class Got:
    """One device of a node that a job got: its index, the share of it, None for the whole, and its kind.

    The index counts all devices of the node; None where a job has all of them. Where GPUs are cut, the kind is a MIG
    profile or `WHOLE`, after `UNSURE` where it is only what the node's text has there, and `nth` counts those of the
    kind; None where their order is Slurm's own.
    """

    index: int | None
    share_ratio: float | None
    kind: str = ""
    nth: int | None = None


def devices(gres: str) -> Devices:
    """Return the GPUs of a node's text, such as `gpu:h100:4(S:0-1),shard:h100:16`.

    Raises: ValueError: a count is no number, or more than a node has.
    """
    listed: list[tuple[str, str, int]] = []
    for part in _PART.findall(_plain(gres)):
        fields = part.split("(")[0].removeprefix("gres/").split(":")
        if fields[0] in ("gpu", *_SHARED):
            listed.append((fields[0], _type(fields), _count(fields)))
    gpus = [(each, count) for name, each, count in listed if name == "gpu"]
    if sum(count for _, count in gpus) > _MOST_DEVICES:
        raise ValueError(f"GRES: found {gres[:80]!r}, expected at most {_MOST_DEVICES} devices")
    types = [each for each, count in gpus for _ in range(count)]
    kinds = tuple((_profile(each), count) for each, count in gpus)
    is_cut = any(profile for profile, _ in kinds)
    shares = {name: [(each, count) for kind, each, count in listed if kind == name] for name in _SHARED}
    parts = {name: _parts(types, dealt) for name, dealt in shares.items() if dealt}
    return Devices(len(types), parts, kinds if is_cut else ())


def _parts(types: Sequence[str], shares: Sequence[tuple[str, int]]) -> tuple[int, ...]:
    """Return into how many parts each device is divided: Slurm deals shares of a type evenly out to its devices."""
    parts = [0] * len(types)
    for name, count in shares:
        of_type = [index for index, each in enumerate(types) if each == name] or range(len(types))
        left = count
        for dealt, index in enumerate(of_type):
            mine = left // (len(of_type) - dealt)
            parts[index] += mine
            left -= mine
    return tuple(parts)


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
        details = [each for each in _DETAIL.findall(part) if not each.startswith(_NO_INDEX)]
        if not details or fields[0] not in ("gpu", *_SHARED):
            continue
        if fields[0] in _SHARED:
            found += _shares(details[0], fields, of or Devices(0))
            continue
        indices = numbers(details[0].removeprefix("IDX:"))
        if len(indices) != _count(fields) or len(set(indices)) != len(indices):
            raise ValueError(f"GRES: found {part!r}, expected an index for each device")
        profile = _profile(_type(fields))
        found += [(of or Devices(0)).device(index, profile) for index in indices]
    return found


def _shares(detail: str, fields: list[str], of: Devices) -> list[Got]:
    """Return the parts of devices that one job has."""
    profile = _profile(name) if (name := _type(fields)) else None
    if "/" in detail:
        parts = [(index, _ratio(part)) for index, part in enumerate(detail.split(","))]
        return [of.shared(index, profile, share) for index, share in parts if share]
    indices = numbers(detail.removeprefix("IDX:"))
    parts_of = of.parts.get(fields[0], ())
    whole = sum(parts_of[index] for index in indices if index < len(parts_of))
    count = _count(fields)
    equal = count / whole if 0 < count <= whole else None
    return [of.shared(index, profile, equal) for index in indices]


def _ratio(part: str) -> float:
    """Return the share in `50/100`.

    Raises: ValueError: it is none, or more than the whole.
    """
    some, _, whole = part.partition("/")
    if not (some.isdecimal() and whole.isdecimal() and int(some) <= int(whole) and int(whole)):
        raise ValueError(f"GRES: found {part!r}, expected parts of a device")
    return int(some) / int(whole)


def _type(fields: Sequence[str]) -> str:
    """Return the type in `gpu:h100:4`; '' in `gpu:4` and `gpu`."""
    is_told = len(fields) > 2 or (len(fields) == 2 and _COUNT.fullmatch(fields[1]) is None)  # noqa: PLR2004  name, type
    return fields[1] if is_told else ""


def _profile(name: str) -> str:
    """Return the MIG profile that a type names, such as `1g.10gb` of `a100_1g.10gb`; '' for a whole device."""
    found = _PROFILE.search(name)
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
