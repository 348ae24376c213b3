"""Generation with vLLM on GPUs, through `ray.data.llm`: the engine gets tokens and gives tokens.

Prompts, the cut before a stop text and the reasons of an answer's end are those of the engine `hf`. Greedy answers agree with
it but for the rounding of the arithmetic; sampled ones do not: vLLM draws random numbers in its own way.
"""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import track

from codeblock.core.cluster import require, without_restart_warning
from codeblock.core.config import ClusterConfig, EvaluateConfig
from codeblock.core.console import console
from codeblock.core.errors import CodeBlockError
from codeblock.core.models.config import ADAPTER_FILE, base_of
from codeblock.core.models.load import NO_LIMIT, context_length
from codeblock.evaluate.answers import Answer, End, Job, Request, finish, stop_token_ids, without_room


def check_vllm(cluster: ClusterConfig) -> None:
    """Raise CodeBlockError where vLLM is not installed or no whole GPU is asked for."""
    if importlib.util.find_spec("vllm") is None:
        raise CodeBlockError('evaluate.engine=vllm: vLLM is not installed; run `pip install "codeblock[vllm]"`')
    gpus = cluster.gpus_per_worker
    if gpus < 1 or gpus != int(gpus):
        raise CodeBlockError(
            f"evaluate.engine=vllm: runs on whole GPUs, cluster.gpus_per_worker is {gpus:g}; set it to 1, or engine to hf"
        )


def generate_with_vllm(job: Job, tokenizer: Any, requests: Sequence[Request]) -> Iterator[Answer]:
    """The answers as they come, in any order.

    `cluster.actors` engines, each on `cluster.gpus_per_worker` GPUs (tensor parallel where there are more than one).
    Needs a Ray session. Raises CodeBlockError where vLLM or the GPUs are not there.
    """
    check_vllm(job.cluster)
    require(job.what, job.cluster.actors, 0, job.cluster.gpus_per_worker)
    yield from answers_of(build(job), job, tokenizer, requests)


def answers_of(processor: Any, job: Job, tokenizer: Any, requests: Sequence[Request]) -> Iterator[Answer]:
    """What `processor` answers."""
    context, stop_ids = _context(job), stop_token_ids(tokenizer, configured_eos(job))
    rooms = [request.room(job.max_new_tokens, context) for request in requests]
    rows = [
        engine_row(place, request, room, stop_ids, job.config)
        for place, (request, room) in enumerate(zip(requests, rooms, strict=True))
        if room >= 1
    ]
    yield from (without_room(request) for request, room in zip(requests, rooms, strict=True) if room < 1)
    found = _run(processor, rows, job.config.batch_size)
    for place, new in track(found, description=f"  {job.what}", total=len(rows), transient=True, console=console):
        full: End = "max_new_tokens" if rooms[place] == job.max_new_tokens else "context"
        yield finish(tokenizer, requests[place], new, stop_ids, full if len(new) >= rooms[place] else "stop")


def build(job: Job) -> Any:
    """The `ray.data.llm` processor: an engine and nothing else, since prompts are tokens already.

    An adapter stays one: the engine loads the base model, and every row asks for the adapter on top.
    """
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    adapter = _adapter(job)
    engine: dict[str, Any] = {
        "dtype": job.config.dtype,
        "tensor_parallel_size": int(job.cluster.gpus_per_worker),
    }
    if (context := _context(job)) != NO_LIMIT:
        engine["max_model_len"] = context
    if job.model.revision is not None:
        engine |= {"revision": job.model.revision, "tokenizer_revision": job.model.revision}
    if adapter is not None:
        engine |= {"enable_lora": True, "max_lora_rank": adapter["r"]}
    config = vLLMEngineProcessorConfig(
        model_source=_base(job),
        engine_kwargs=engine,
        concurrency=(job.cluster.actors, job.cluster.actors),
        batch_size=job.config.batch_size,
        chat_template_stage=False,
        tokenize_stage=False,
        detokenize_stage=False,
    )
    preprocess = partial(_with_adapter, job.model.path) if adapter is not None else None
    with _quiet():
        return build_processor(config, preprocess=preprocess, postprocess=_tokens)


def engine_row(place: int, request: Request, room: int, stop_ids: list[int], config: EvaluateConfig) -> dict[str, Any]:
    """One request as the engine reads it. `place` comes back with its tokens."""
    sampling: dict[str, Any] = {
        "max_tokens": room,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "seed": request.seed,
        "stop_token_ids": stop_ids,
        "detokenize": bool(request.stops),  # it finds stop texts in the text alone
    }
    if request.stops:
        sampling["stop"] = list(request.stops)
    return {"place": place, "tokenized_prompt": request.ids, "sampling_params": sampling}


def _run(processor: Any, rows: list[dict[str, Any]], batch_size: int) -> Iterator[tuple[int, list[int]]]:
    """(place, new tokens) of each row."""
    import ray.data

    if not rows:
        return
    answered = processor(ray.data.from_items(rows, override_num_blocks=-(-len(rows) // batch_size)))
    with without_restart_warning():
        for row in answered.iter_rows():
            yield int(row["place"]), [int(token) for token in row["tokens"]]


def _tokens(row: dict[str, Any]) -> dict[str, Any]:
    return {"place": row["place"], "tokens": row["generated_tokens"]}


def _with_adapter(path: str, row: dict[str, Any]) -> dict[str, Any]:
    """The engine puts an adapter on where a row's model is not its own."""
    return {**row, "model": path}


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray starts itself once more while it builds a processor, which says so and turns its logs on for good."""
    ray = logging.getLogger("ray")
    level = ray.level
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        ray.setLevel(level)


def _adapter(job: Job) -> dict[str, Any] | None:
    file = Path(job.model.path) / ADAPTER_FILE
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None


def _base(job: Job) -> str:
    """The model itself, or the one below an adapter."""
    return base_of(job.model.path, job.model.revision)[0]


def _context(job: Job) -> int:
    return context_length(job.model.path, job.model.revision) or NO_LIMIT


def configured_eos(job: Job) -> int | list[int] | None:
    """The end of text in the model's generation config."""
    from transformers import GenerationConfig

    try:
        config = GenerationConfig.from_pretrained(_base(job), revision=job.model.revision)
    except OSError:
        return None  # the model has no such file: the tokenizer's end of text alone
    configured: int | list[int] | None = config.eos_token_id
    return configured
