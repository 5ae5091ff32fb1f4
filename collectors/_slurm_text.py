"""The small languages of Slurm's output: node lists, resources, states and instants."""

import re
from datetime import UTC, datetime

_BRACKETS = re.compile(r"([^,\[\]]*)\[([^\]]*)\]((?:[^,\[\]]|\[[^\]]*\])*)")

_COUNT = re.compile(r"[0-9]+(\.[0-9]+)?")

_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}

_UNKNOWN = frozenset({"", "Unknown", "None", "NONE", "N/A", "n/a", "(null)", "None assigned"})

_ENDLESS = frozenset({"UNLIMITED", "INFINITE", "Partition_Limit", "NOT_SET", "INVALID"})

_MOST_NODES = 1_000_000
"""No text names more: a range that does is a mistake, or somebody's joke."""

_TASKS = re.compile(r"\d+_\[([^\]%]*)(?:%\d+)?\]")


def nodes(text: str) -> list[str]:
    """Return the node names of a host list: `n[1-2,07],m3` gives n1, n2, n07, m3.

    Raises: ValueError: brackets that do not close, or a range that is none.
    """
    if text in _UNKNOWN:
        return []
    found: list[str] = []
    rest = text
    while rest:
        match = _BRACKETS.match(rest)
        if match:
            prefix, ranges, suffix = match.groups()
            tails = nodes(suffix) if "[" in suffix else [suffix]
            names = _expanded(ranges)
            if len(names) * len(tails) > _MOST_NODES:
                raise ValueError(f"node list: found {text[:80]!r}, expected at most {_MOST_NODES} names")
            found += [f"{prefix}{each}{tail}" for each in names for tail in tails]
            rest = rest[match.end() :].removeprefix(",")
        else:
            name, _, rest = rest.partition(",")
            if "[" in name or "]" in name:
                raise ValueError(f"node list: found {text[:80]!r}, expected brackets that close")
            found.append(name)
    return found


def _expanded(ranges: str) -> list[str]:
    numbers: list[str] = []
    for part in ranges.split(","):
        first, dash, last = part.partition("-")
        if not dash:
            numbers.append(part)
            continue
        if not (first.isdecimal() and last.isdecimal() and 0 <= int(last) - int(first) < _MOST_NODES):
            raise ValueError(f"node list: found the range {part[:80]!r}, expected numbers that rise")
        width = len(first) if first.startswith("0") else 0
        numbers += [str(number).zfill(width) for number in range(int(first), int(last) + 1)]
    return numbers


def numbers(text: str) -> list[int]:
    """Return the numbers of a list with ranges and steps: `0-3,6` and `0-6:3`; N/A and an empty text have none.

    Raises: ValueError: a part is neither a number nor a range.
    """
    found: list[int] = []
    for part in text.split(","):
        if part in _UNKNOWN:
            continue
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if not match or int(match[2] or match[1]) - int(match[1]) >= _MOST_NODES:
            raise ValueError(f"list of numbers: found {part[:80]!r}, expected a number or a range")
        found += range(int(match[1]), int(match[2] or match[1]) + 1, int(match[3] or 1) or 1)
    return found


def task_count(display_id: str) -> int:
    """Return for how many tasks of an array a record stands: `7_[2-3%2]` waits for two, any other id is one.

    A list that was cut short (`7_[1-3,...]`) counts what it names.
    """
    match = _TASKS.fullmatch(display_id)
    if not match:
        return 1
    return len(numbers(match[1].replace("...", "").strip(","))) or 1


def tres(text: str) -> dict[str, str]:
    """Return trackable resources by name: `cpu=2,gres/gpu=1` gives {"cpu": "2", "gres/gpu": "1"}."""
    pairs = (part.partition("=") for part in text.split(",") if "=" in part)
    return {name: value for name, _, value in pairs}


def gpu_count(resources: dict[str, str], gres: str = "") -> float | None:
    """Return how many GPUs are named, None where none of the texts names any.

    `gres/gpu` is the whole; `gres/gpu:a100` are its parts and are only summed where the whole is missing.
    Old versions name them in AllocGRES alone, as `gpu:2` or `gpu:a100:2`.

    Raises: ValueError: a count is no number.
    """
    if "gres/gpu" in resources:
        return _devices("gres/gpu", resources["gres/gpu"])
    typed = [_devices(name, value) for name, value in resources.items() if name.startswith("gres/gpu:")]
    if typed:
        return sum(typed)
    counts = [
        float(parts[-1]) if parts[-1].isdigit() else 1.0
        for parts in (each.split("(")[0].split(":") for each in gres.split(","))
        if parts[0] in {"gpu", "gres/gpu"}
    ]
    return sum(counts) if counts else None


def _devices(name: str, text: str) -> float:
    if not _COUNT.fullmatch(text):
        raise ValueError(f"resource {name}: found {text[:80]!r}, expected a number of devices")
    return float(text)


def gpu_model(resources: dict[str, str]) -> str | None:
    """Return the GPU type that the resources name, or None."""
    models = [name.removeprefix("gres/gpu:") for name in resources if name.startswith("gres/gpu:")]
    return ",".join(sorted(models)) or None


def size(text: str) -> float | None:
    """Return a memory text such as `64Gn` or `62500M` as bytes; `n` and `c` (per node, per CPU) are left out."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([KMGTP]?)[nc]?", text)
    return float(match[1]) * _SIZES[match[2]] if match else None


def minutes(text: str) -> str:
    """Return a time limit such as `2-03:00:00`, `30:00` or `15` (minutes) as whole minutes; '' without a limit.

    Raises: ValueError: it is none of these.
    """
    if text in _UNKNOWN or text in _ENDLESS:
        return ""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not match:
        raise ValueError(f"time limit: found {text!r}, expected days-hours:minutes:seconds")
    days, parts = match[1], [int(each) for each in match.groups()[1:] if each is not None]
    if days is not None:
        hours, of_hour, seconds = (*parts, 0, 0)[:3]
        return str(int(days) * 1440 + hours * 60 + of_hour + round(seconds / 60))
    if len(parts) == 3:  # noqa: PLR2004  hours, minutes, seconds
        return str(parts[0] * 60 + parts[1] + round(parts[2] / 60))
    return str(parts[0])


def instant(text: str) -> tuple[datetime | None, bool]:
    """Return an instant, and whether it came without a zone and was taken as UTC.

    Slurm prints local time without a zone; with SLURM_TIME_FORMAT=%s it prints seconds since 1970.

    Raises: ValueError: the text is no instant.
    """
    if text in _UNKNOWN:
        return None, False
    if text.isdigit():
        return datetime.fromtimestamp(int(text), UTC), False
    at = datetime.fromisoformat(text)
    return (at.replace(tzinfo=UTC), True) if at.tzinfo is None else (at.astimezone(UTC), False)


def state(text: str) -> str:
    """Return a job's state without what follows it: `CANCELLED by 1000` is CANCELLED."""
    return text.split(maxsplit=1)[0].rstrip("+") if text.strip() else "UNKNOWN"
