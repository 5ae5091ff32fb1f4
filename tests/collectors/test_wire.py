"""The batch codec: what goes in comes out, and what is wrong is refused in one line."""

import math
import struct
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from collectors import wire
from collectors.wire import Limits, VersionError, decode, encode
from ledger.errors import InputError

values = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=20), st.floats())
rows = st.lists(st.dictionaries(st.sampled_from("abcd"), values, min_size=1), min_size=1, max_size=10)


@given(rows)
def test_rows_come_out_as_they_went_in(given_rows: list[dict[str, object]]) -> None:
    batch = decode(encode("id", "node", "boot", {"gpu_sample": given_rows}))
    columns = batch.tables["gpu_sample"]
    assert batch.row_count == len(given_rows)
    for position, row in enumerate(given_rows):
        for name in columns:
            expected = row.get(name)
            if isinstance(expected, float) and (expected != expected or abs(expected) == float("inf")):  # noqa: PLR0124
                expected = None
            assert columns[name][position] == expected


def test_instants_are_milliseconds_and_decimals_text() -> None:
    row = {"at": datetime(2026, 11, 20, 12, 0, 0, 123000, tzinfo=UTC), "part": Decimal("0.142857")}
    columns = decode(encode("id", "node", "boot", {"gpu": [row]})).tables["gpu"]
    assert columns == {"at": [1_795_176_000_123], "part": ["0.142857"]}


def test_what_is_no_plain_value_is_a_mistake_of_the_collector() -> None:
    with pytest.raises(TypeError, match="found list"):
        encode("id", "node", "boot", {"gpu": [{"x": [1]}]})


def packed(content: object) -> bytes:
    return zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(content))


GOOD = {"v": 1, "batch_id": "b", "node": "n", "boot_id": "", "tables": {"t": {"a": [1, 2]}}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "batch: "),
        (b"not zstd", "expected msgpack in zstd"),
        (packed(GOOD)[:-4], "batch: "),
        (zstandard.ZstdCompressor().compress(b"\xc1\xc1"), "expected msgpack in zstd"),
        (packed([1, 2]), "Expected `object`"),
        (packed(GOOD | {"v": 2}), "found version 2, expected 1"),
        (packed(GOOD | {"batch_id": ""}), "batch_id"),
        (packed({name: value for name, value in GOOD.items() if name != "node"}), "node"),
        (packed(GOOD | {"tables": {"t": {"a": [1], "b": [1, 2]}}}), r"found columns of \[1, 2\] rows"),
        (packed(GOOD | {"tables": {"t": {"a": [{"x": 1}]}}}), "tables"),
        (packed(GOOD | {"tables": {"t": {"a": [float("nan")]}}}), "found NaN or infinity"),
        (packed(GOOD | {"tables": {"t": {"a": [1] * 11}}}), "found 11 rows, expected at most 10"),
        (packed(GOOD | {"tables": {f"t{n}": {} for n in range(5)}}), "found 5 tables"),
        (packed(GOOD | {"tables": {"t": {f"c{n}": [] for n in range(5)}}}), "found 5 columns"),
        (packed(GOOD | {"tables": {"t": {"a": ["x" * 200_000]}}}), "when decompressed"),
        (b"x" * 5000, "found 5000 bytes, expected at most 4000"),
    ],
)
def test_a_wrong_body_is_refused_in_words(body: bytes, words: str) -> None:
    limits = Limits(body_bytes=4000, decoded_bytes=100_000, rows=10, tables=4, columns=4)
    with pytest.raises(InputError, match=words):
        decode(body, limits)


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("form", [">d", ">f"], ids=["eight bytes", "four bytes"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_no_float_that_is_no_number_comes_in(value: float, form: str, at: int) -> None:
    """Wherever it stands, and as whichever float; msgpack writes it as a mark and its bytes."""
    numbers = [0.5, 1e308, -1.5]
    plain = msgspec.msgpack.encode(GOOD | {"tables": {"t": {"a": numbers, "b": ["x"] * 3}}})
    mark = b"\xcb" if form == ">d" else b"\xca"
    written = plain.replace(b"\xcb" + struct.pack(">d", numbers[at]), mark + struct.pack(form, value))
    assert written != plain
    with pytest.raises(InputError, match=r"t\.a: found NaN or infinity, expected null"):
        decode(zstandard.ZstdCompressor().compress(written))


def test_what_only_looks_like_no_number_comes_in() -> None:
    # A whole number with the bytes of NaN, and floats next to the largest.
    columns = {"a": [0x00CB7FF800000000, 1], "c": [1.7976931348623157e308, -1e308]}
    content = packed(GOOD | {"tables": {"t": columns}})
    assert wire._ODD_FLOATS[0].search(wire.decompressed(content, 10_000))
    assert decode(content).tables == {"t": columns}


def test_unknown_fields_of_a_newer_agent_are_passed_over() -> None:
    assert decode(packed(GOOD | {"later": 1})).row_count == 2


@pytest.mark.parametrize(
    "changed", [{"v": 2}, {"v": 0, "tables": {"t": {"a": [1]}}}, {"v": 3, "tables": [1]}, {"v": 2, "node": None}]
)
def test_another_version_is_told_apart_from_a_wrong_batch(changed: dict[str, object]) -> None:
    """What sent it keeps its rows then, so no shape of it may make it look like a mistake."""
    with pytest.raises(VersionError, match=f"found version {changed['v']}, expected 1"):
        decode(packed(GOOD | changed))
    with pytest.raises(InputError) as caught:
        decode(packed(GOOD | {"v": "1"}))
    assert not isinstance(caught.value, VersionError)


@given(st.binary(max_size=200))
def test_no_body_breaks_the_decoder(body: bytes) -> None:
    with pytest.raises(InputError):
        decode(body)
