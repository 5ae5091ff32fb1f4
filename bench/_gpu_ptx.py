"""The kernels of the labelled workloads, as text for the driver's own compiler: nothing but the driver is needed.

Each does one thing until its rounds are over, and writes what it computed, so that no part of it is optimised away.
"""

from typing import Final

_HEAD: Final = """.version 6.4
.target sm_70
.address_size 64
"""
_TENSOR_HEAD: Final = """.version 7.0
.target sm_80
.address_size 64
"""

# The place of a thread in the whole grid, and how many threads there are.
_PLACE: Final = """
    mov.u32 %block, %ctaid.x;
    mov.u32 %width, %ntid.x;
    mov.u32 %thread, %tid.x;
    mad.lo.u32 %i, %block, %width, %thread;
    mov.u32 %block, %nctaid.x;
    mul.lo.u32 %all, %block, %width;
"""
_PLACE_REGISTERS: Final = ".reg .b32 %i, %all, %block, %width, %thread;"

FILL: Final = f"""{_HEAD}
// Writes words that look random: two halves each, all below 2 in magnitude. A constant would draw less power.
.visible .entry fill(.param .u64 p_to, .param .u32 p_words)
{{
    .reg .pred %done; {_PLACE_REGISTERS} .reg .b32 %words, %value, %high; .reg .b64 %to, %at;
    ld.param.u64 %to, [p_to];
    ld.param.u32 %words, [p_words];
    cvta.to.global.u64 %to, %to;
{_PLACE}
again:
    setp.ge.u32 %done, %i, %words;
    @%done bra over;
    mul.lo.u32 %value, %i, 0x9E3779B1;
    shr.u32 %high, %value, 15;
    xor.b32 %value, %value, %high;
    mul.lo.u32 %value, %value, 0x85EBCA6B;
    and.b32 %value, %value, 0xBFFFBFFF;
    mul.wide.u32 %at, %i, 4;
    add.u64 %at, %to, %at;
    st.global.u32 [%at], %value;
    add.u32 %i, %i, %all;
    bra again;
over:
    ret;
}}
"""

COPY: Final = f"""{_HEAD}
// Reads and writes 16 bytes at a time: nothing but device memory works.
.visible .entry copy(.param .u64 p_from, .param .u64 p_to, .param .u32 p_vectors)
{{
    .reg .pred %done; {_PLACE_REGISTERS} .reg .b32 %vectors, %v<4>; .reg .b64 %from, %to, %at, %offset;
    ld.param.u64 %from, [p_from];
    ld.param.u64 %to, [p_to];
    ld.param.u32 %vectors, [p_vectors];
    cvta.to.global.u64 %from, %from;
    cvta.to.global.u64 %to, %to;
{_PLACE}
again:
    setp.ge.u32 %done, %i, %vectors;
    @%done bra over;
    mul.wide.u32 %offset, %i, 16;
    add.u64 %at, %from, %offset;
    ld.global.v4.u32 {{%v0, %v1, %v2, %v3}}, [%at];
    add.u64 %at, %to, %offset;
    st.global.v4.u32 [%at], {{%v0, %v1, %v2, %v3}};
    add.u32 %i, %i, %all;
    bra again;
over:
    ret;
}}
"""

SUMS: Final = 16
"""How many sums a thread of `single` keeps: so many multiply-adds do not wait for each other."""


def single() -> str:
    """Return a kernel of single-precision multiply-adds, which no tensor pipe does."""
    start = "\n".join(f"    cvt.rn.f32.u32 %s{each}, %thread;" for each in range(SUMS))
    body = "\n".join(f"    fma.rn.f32 %s{each}, %s{each}, %by, %plus;" for each in range(SUMS))
    total = "\n".join(f"    add.rn.f32 %s0, %s0, %s{each};" for each in range(1, SUMS))
    return f"""{_HEAD}
.visible .entry single(.param .u64 p_to, .param .u32 p_rounds)
{{
    .reg .pred %more; {_PLACE_REGISTERS} .reg .b32 %rounds; .reg .b64 %to, %at;
    .reg .f32 %by, %plus, %s<{SUMS}>;
    ld.param.u64 %to, [p_to];
    ld.param.u32 %rounds, [p_rounds];
    cvta.to.global.u64 %to, %to;
{_PLACE}
    mov.f32 %by, 0f3F7FFFF0;
    mov.f32 %plus, 0f3F800001;
{start}
again:
{body}
    sub.u32 %rounds, %rounds, 1;
    setp.ne.u32 %more, %rounds, 0;
    @%more bra again;
{total}
    mul.wide.u32 %at, %thread, 4;
    add.u64 %at, %to, %at;
    st.global.f32 [%at], %s0;
    ret;
}}
"""


TILES: Final = 8
"""How many 16 x 8 tiles a warp of `tensor` adds to: so many products do not wait for each other."""

TILE_OPERATIONS: Final = 2 * 16 * 8 * 16
"""Multiplications and additions in one product of 16 x 16 by 16 x 8."""


def tensor() -> str:
    """Return a kernel of half-precision matrix products on the tensor pipes; it needs Ampere or newer."""
    zero = "\n".join(f"    mov.f32 %c{each}, 0f00000000;" for each in range(4 * TILES))
    body = "\n".join(_product(tile) for tile in range(TILES))
    total = "\n".join(f"    add.rn.f32 %c0, %c0, %c{each};" for each in range(1, 4 * TILES))
    factors = "\n".join(
        f"    mul.lo.u32 {name}, %i, {_ODD + 2 * place};\n    and.b32 {name}, {name}, 0xBFFFBFFF;"
        for place, name in enumerate(("%a0", "%a1", "%a2", "%a3", "%b0", "%b1"))
    )
    return f"""{_TENSOR_HEAD}
.visible .entry tensor(.param .u64 p_to, .param .u32 p_rounds)
{{
    .reg .pred %more; {_PLACE_REGISTERS} .reg .b32 %rounds, %a<4>, %b<2>; .reg .b64 %to, %at;
    .reg .f32 %c<{4 * TILES}>;
    ld.param.u64 %to, [p_to];
    ld.param.u32 %rounds, [p_rounds];
    cvta.to.global.u64 %to, %to;
{_PLACE}
{factors}
{zero}
again:
{body}
    sub.u32 %rounds, %rounds, 1;
    setp.ne.u32 %more, %rounds, 0;
    @%more bra again;
{total}
    mul.wide.u32 %at, %thread, 4;
    add.u64 %at, %to, %at;
    st.global.f32 [%at], %c0;
    ret;
}}
"""


_ODD: Final = 0x9E3779B1


def _product(tile: int) -> str:
    sums = ", ".join(f"%c{4 * tile + each}" for each in range(4))
    product = "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"
    return f"    {product} {{{sums}}}, {{%a0, %a1, %a2, %a3}}, {{%b0, %b1}}, {{{sums}}};"


KERNELS: Final = {"fill": FILL, "copy": COPY, "single": single(), "tensor": tensor()}
"""The text of each kernel by its name."""
