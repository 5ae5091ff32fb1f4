"""What servers of models say of themselves, in the text that Prometheus reads.

Source: the metrics pages of vLLM (V0 and V1 use the same names for these), SGLang, Text Generation Inference and Triton
with its TensorRT-LLM and vLLM backends.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

Values = dict[str, float]
"""What one model's server says, by column of `serving_sample`."""


@dataclass(frozen=True)
class Reading:
    """One series that a column is read from; `where` are the labels that it must have, `parts` of it are one."""

    name: str
    where: Mapping[str, str] = field(default_factory=dict)
    parts: int = 1


@dataclass(frozen=True)
class Engine:
    """One kind of server: how its series begin and which columns they give.

    `copies` are labels that tell apart copies of one number: of these the largest counts, of all others the sum.
    """

    prefix: str
    columns: Mapping[str, Reading]
    copies: frozenset[str] = frozenset()


_MODEL_LABELS: Final = ("model_name", "model")

_MICROSECONDS: Final = 1_000_000

# What SGLang says again for each level of priority; the series without a level holds them all.
_LEVEL: Final = "priority"

# Where several kinds speak of one model, as where Triton runs vLLM, the first that says a column counts.
ENGINES: Final = (
    Engine(
        "vllm:",
        {
            "prompt_token_count_total": Reading("vllm:prompt_tokens_total"),
            "generated_token_count_total": Reading("vllm:generation_tokens_total"),
            "request_count_total": Reading("vllm:request_success_total"),
            "running_request_count": Reading("vllm:num_requests_running"),
            "waiting_request_count": Reading("vllm:num_requests_waiting"),
            "queue_seconds_total": Reading("vllm:request_queue_time_seconds_sum"),
            "running_seconds_total": Reading("vllm:request_inference_time_seconds_sum"),
            "prefill_seconds_total": Reading("vllm:request_prefill_time_seconds_sum"),
            "decode_seconds_total": Reading("vllm:request_decode_time_seconds_sum"),
        },
    ),
    Engine(
        "sglang:",
        {
            "prompt_token_count_total": Reading("sglang:prompt_tokens_total"),
            "generated_token_count_total": Reading("sglang:generation_tokens_total"),
            "request_count_total": Reading("sglang:num_requests_total"),
            "running_request_count": Reading("sglang:num_running_reqs"),
            "waiting_request_count": Reading("sglang:num_queue_reqs"),
            "queue_seconds_total": Reading("sglang:queue_time_seconds_sum"),
        },
        # Each rank of a model that lies on several devices may tell the same requests.
        copies=frozenset({"tp_rank", "pp_rank", "moe_ep_rank"}),
    ),
    Engine(
        "tgi_",
        {
            "prompt_token_count_total": Reading("tgi_request_input_length_sum"),
            "generated_token_count_total": Reading("tgi_request_generated_tokens_sum"),
            "request_count_total": Reading("tgi_request_success"),
            "running_request_count": Reading("tgi_batch_current_size"),
            "waiting_request_count": Reading("tgi_queue_size"),
            "queue_seconds_total": Reading("tgi_request_queue_duration_sum"),
            "running_seconds_total": Reading("tgi_request_inference_duration_sum"),
        },
    ),
    Engine(
        "nv_",
        {
            "prompt_token_count_total": Reading(
                "nv_llm_input_token_len_sum", {"response_metric_type": "total_input_tokens"}
            ),
            "generated_token_count_total": Reading(
                "nv_llm_output_token_len_sum", {"response_metric_type": "total_output_tokens"}
            ),
            "request_count_total": Reading("nv_inference_request_success"),
            "running_request_count": Reading("nv_trt_llm_request_metrics", {"request_type": "scheduled"}),
            "waiting_request_count": Reading("nv_trt_llm_request_metrics", {"request_type": "waiting"}),
            "queue_seconds_total": Reading("nv_inference_queue_duration_us", parts=_MICROSECONDS),
            "running_seconds_total": Reading("nv_inference_compute_infer_duration_us", parts=_MICROSECONDS),
        },
    ),
    Engine("nv_", {"waiting_request_count": Reading("nv_inference_pending_request_count")}),
)

_NAME: Final = re.compile(r"^[a-zA-Z_:][a-zA-Z0-9_:]*", re.MULTILINE)
_STARTED: Final = "process_start_time_seconds"


@dataclass(frozen=True)
class Said:
    """What one server says: by model, and when it started as it writes that; '' for a model that it does not name."""

    models: Mapping[str, Values]
    started: str | None
    engines: frozenset[str]


def said(text: str) -> Said:
    """Return what a server says.

    Raises: ValueError: this is not the text that Prometheus reads.
    """
    samples = list(_samples(text))
    models: dict[str, Values] = {}
    engines = set()
    for engine in ENGINES:
        mine = [each for each in samples if each.name.startswith(engine.prefix)]
        for column, reading in engine.columns.items():
            for model, value in _read(mine, reading, engine.copies).items():
                models.setdefault(model, {}).setdefault(column, value)
                engines.add(engine.prefix)
    started = next((repr(each.value) for each in samples if each.name == _STARTED), None)
    return Said(models, started, frozenset(engines))


def _samples(text: str) -> Iterable[Sample]:
    """Yield the series of a text, counters under the name that the server gives them.

    Raises: ValueError: a line cannot be read.
    """
    names = set(_NAME.findall(text))
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                # The parser ends the name of every counter in `_total`, and not every server does.
                is_added = family.type == "counter" and sample.name not in names
                yield sample._replace(name=sample.name.removesuffix("_total")) if is_added else sample
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"found {error}, expected the text that Prometheus reads") from None


def _read(samples: Iterable[Sample], reading: Reading, copies: frozenset[str]) -> dict[str, float]:
    """Return the sum of a series by model, copies of one number once; no model has what is no number."""
    once: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    broken = set()
    for sample in samples:
        labels = sample.labels
        if sample.name != reading.name or labels.get(_LEVEL) or not reading.where.items() <= labels.items():
            continue
        model = next((labels[name] for name in _MODEL_LABELS if labels.get(name)), "")
        value = float(sample.value)
        if not math.isfinite(value) or value < 0:
            broken.add(model)
            continue
        told = (model, tuple(sorted((name, word) for name, word in labels.items() if name not in copies)))
        once[told] = max(value / reading.parts, once.get(told, 0.0))
    sums: dict[str, float] = {}
    for (model, _), value in once.items():
        sums[model] = sums.get(model, 0.0) + value
    return {model: value for model, value in sums.items() if model not in broken}
