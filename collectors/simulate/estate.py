"""Who owns what in the simulated estate: providers, nodes, devices, teams and models."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import numpy as np

from collectors.simulate.shapes import Device, Hardware, Node, Provider, Team, on_grid

AWS: Final = Provider("AWS", "aws-east", "us-east-1", "USD", "slurm")
AZURE: Final = Provider("Microsoft", "azure-west", "westeurope", "EUR", "kubernetes")
OWNED: Final = Provider("Example Labs", "frankfurt", "fra1", "EUR", "slurm")
PROVIDERS: Final = (AWS, AZURE, OWNED)

_GIB: Final = 2**30

_H100: Final = Hardware(
    gpu_model="NVIDIA H100 80GB HBM3", quality="A", memory_bytes=80 * _GIB, baseline_bytes=550 * 2**20,
    idle_watts=70.0, limit_watts=700.0, clock_hertz=1.98e9, memory_clock_hertz=2.619e9,
    nvlink_bytes_per_second=450_000_000_000, line_rate_bytes_per_second=50_000_000_000,
    cpu_count=192, host_memory_bytes=2048 * _GIB, instance_type="p5.48xlarge",
)  # fmt: skip
_A100: Final = Hardware(
    gpu_model="NVIDIA A100-SXM4-80GB", quality="C", memory_bytes=80 * _GIB, baseline_bytes=450 * 2**20,
    idle_watts=60.0, limit_watts=400.0, clock_hertz=1.41e9, memory_clock_hertz=1.593e9,
    nvlink_bytes_per_second=300_000_000_000, line_rate_bytes_per_second=25_000_000_000,
    cpu_count=96, host_memory_bytes=1800 * _GIB, instance_type="Standard_ND96amsr_A100_v4",
)  # fmt: skip
_OWNED_H100: Final = Hardware(**{**_H100.__dict__, "cpu_count": 128, "instance_type": "DGX H100"})
_OWNED_A100: Final = Hardware(**{**_A100.__dict__, "cpu_count": 128, "instance_type": "DGX A100"})

AWS_ACCOUNT: Final = "483900000001"
AWS_LABS_ACCOUNT: Final = "483900000002"
AWS_RESEARCH: Final = "483911111111"
AWS_LABS: Final = "483922222222"
AWS_WEB: Final = "483933333333"
AZURE_ACCOUNT: Final = "7a1c9a54-0b0e-4f43-9a2c-2f6f0c7d5e01"
AZURE_AI: Final = "c2f1d8b0-5d7e-4f0a-8a53-1d2f4c6b8a02"
AZURE_OFFICE: Final = "e5a7b9c1-2d3f-4a5b-9c8d-7e6f5a4b3c03"

TEAMS: Final = (
    Team("language", "acct-language", "lead.language@example.org", ("ada", "boris", "chen")),
    Team("vision", "acct-vision", "lead.vision@example.org", ("dana", "emil")),
    Team("speech", "acct-speech", "lead.speech@example.org", ("fatima", "goran")),
    Team("search", "acct-search", "lead.search@example.org", ("hana", "igor")),
    Team("platform", "acct-platform", "lead.platform@example.org", ("jo", "kim")),
    Team("science", "acct-science", "lead.science@example.org", ("lena", "marc", "nils")),
)

MODELS: Final[dict[str, tuple[str, ...]]] = {
    "language": ("atlas-70b", "atlas-8b"),
    "vision": ("iris-2",),
    "speech": ("echo-large",),
    "search": ("ranker-3", "embed-2"),
    "platform": ("guard-1",),
    "science": ("fold-1",),
}
"""The models of each team; science also runs jobs that belong to no model."""

# 3g, 2g and 1g: the larger of seven compute and eight memory parts; what is left fits no slice.
_SLICES: Final = (
    ("3g.40gb", Decimal("0.500000")), ("2g.20gb", Decimal("0.285714")), ("1g.10gb", Decimal("0.142857")),
    ("", Decimal("0.071429")),
)  # fmt: skip


def nodes(gpus: int, start: int, end: int) -> tuple[Node, ...]:
    """Return the servers: a third with each owner; one leaves and comes back, one joins on the way."""
    sizes = [8] * (gpus // 8) + ([gpus % 8] if gpus % 8 else [])
    owners = [PROVIDERS[index * 3 // len(sizes)] if len(sizes) > 2 else PROVIDERS[-1] for index in range(len(sizes))]  # noqa: PLR2004
    found: list[Node] = []
    for provider in PROVIDERS:
        own = [size for size, owner in zip(sizes, owners, strict=True) if owner is provider]
        for rank, size in enumerate(own):
            for begin, until in _stays(provider, rank, len(own), start, end):
                found.append(_node(len(found), provider, rank, len(own), size, begin, until, found))
    return tuple(found)


def _stays(provider: Provider, rank: int, count: int, start: int, end: int) -> tuple[tuple[int, int | None], ...]:
    length = end - start
    last = rank == count - 1 and count > 1
    if provider is AWS and rank == 1 and count > 1:
        gone, back = on_grid(start + 0.42 * length), on_grid(start + 0.50 * length + 1_230)
        return (start, gone), (back, None)
    if provider is AZURE and last:
        return ((on_grid(start + 0.2 * length + 1_200), None),)
    return ((start, None),)


def _node(
    index: int, provider: Provider, rank: int, count: int, size: int, start: int, end: int | None, before: list[Node]
) -> Node:
    again = sum(1 for node in before if node.provider is provider and node.name.endswith(f"{rank + 1:03d}"))
    serial = f"{rank + 1:03d}{'' if not again else chr(ord('a') + again)}"
    if provider is AWS:
        instance = f"i-0{rank + 1:03x}{again:x}9f3c5d7e2b4a"
        is_labs = rank == count - 1 and count > 2  # noqa: PLR2004  the other billing account gets the last one
        account = AWS_LABS if is_labs else AWS_RESEARCH
        committed = not is_labs and rank < 2 and not again  # noqa: PLR2004  the commitment is for two servers
        return Node(
            index, f"p5-{rank + 1:03d}", provider, _H100, size, start, end, instance, instance, committed, account
        )
    if provider is AZURE:
        name = f"nd96-{rank + 1:03d}"
        resource = (
            f"/subscriptions/{AZURE_AI}/resourceGroups/ai-prod/providers/Microsoft.Compute/virtualMachines/{name}"
        )
        return Node(index, name, provider, _A100, size, start, end, f"vm-{serial}", resource, False, AZURE_AI)  # noqa: FBT003
    hardware = _OWNED_H100 if rank < (count + 1) // 2 else _OWNED_A100
    name = f"dgx-{rank + 1:03d}"
    return Node(index, name, provider, hardware, size, start, end, f"sn-{serial}", f"EL-{2200 + rank}", False, "")  # noqa: FBT003


def devices(seed: int, every: tuple[Node, ...]) -> tuple[Device, ...]:
    """Return the devices: one owned H100 is cut into slices, one cloud A100 is shared by two jobs."""
    return tuple(_devices(np.random.default_rng([seed, 1]), every))


def _devices(rng: np.random.Generator, every: tuple[Node, ...]) -> Iterator[Device]:
    sliced = next((node.index for node in every if node.provider is OWNED and node.hardware.quality == "A"), -1)
    shared = next((node.index for node in every if node.provider is AZURE), -1)
    index = 0
    for node in every:
        for slot in range(node.gpu_count):
            name = _uuid(rng)
            if node.index == sliced and slot == node.gpu_count - 1:
                for profile, part in _SLICES:
                    yield Device(
                        index, node.index, f"MIG-{_uuid(rng)}", slot, part, f"GPU-{name}", profile,
                        is_shared=False, is_placeable=False,
                    )  # fmt: skip
                    index += 1
                continue
            is_shared = node.index == shared and slot == node.gpu_count - 1
            yield Device(index, node.index, f"GPU-{name}", slot, Decimal(1), "", "", is_shared, not is_shared)
            index += 1


def _uuid(rng: np.random.Generator) -> str:
    digits = rng.bytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def settings() -> dict[str, Any]:
    """Return the configuration that fits the simulated estate: naming rules, the scope of the AI estate, its site."""
    teams = [{"name": team.name, "field": "account", "value": team.account} for team in TEAMS]
    every = [model for models in MODELS.values() for model in models]
    models = [{"name": model, "field": "job_name", "value": f"{model}*"} for model in every]
    scope = {"accounts": [AWS_RESEARCH, AWS_LABS, AZURE_AI, OWNED.name]}
    carbon = {"sites": [{"region": OWNED.region, "country": "DE"}]}
    return {"teams": teams, "models": models, "money": {"scope": scope}, "rollups": {"carbon": carbon}}
