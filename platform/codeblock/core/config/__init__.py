"""The configuration: one model per section, every field documented with its unit.

A config is built in one order: defaults, then the YAML file, then `section.key=value` overrides. Fields made with
`execution` say how a run is carried out (paths, resources, batch sizes) and never what it produces; they take no part
in the names of cached stages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from codeblock.core.config.pairs import PairsConfig
from codeblock.core.config.section import TINY as TINY
from codeblock.core.config.section import Directory, Name, Place, Seed, StoredPlace, check_name
from codeblock.core.config.section import Section as Section
from codeblock.core.config.section import execution as execution
from codeblock.core.config.select import BudgetScope as BudgetScope
from codeblock.core.config.select import SelectConfig as SelectConfig
from codeblock.core.config.sweep import StoppingConfig as StoppingConfig
from codeblock.core.config.sweep import SweepConfig as SweepConfig

RATING_PROMPT = """Rate the quality of the answer to a programming request on a scale from 0 to 5.
0: wrong, empty or off topic. 1: hardly usable. 2: serious faults. 3: some faults. 4: good. 5: correct, complete and clear.

Request:
{instruction}

Answer:
{response}

Reply with one number from 0 to 5 and nothing else."""


class RatingConfig(Section):
    """Quality from a language model behind an OpenAI-compatible endpoint. Needs `pip install "codeblock[rating]"`."""

    url: str = execution(...)
    """Base of the API with its version, such as `http://localhost:8000/v1`."""
    model: str
    """Name of the model there."""
    prompt: str = RATING_PROMPT
    """What it is asked; `{instruction}` and `{response}` stand for the pair. The first number of the reply is the rating,
    0 to 5."""
    request: dict[str, Any] = {"temperature": 0}
    """Further fields of each request."""
    overwrite: bool = False
    """Rate pairs too that have a quality in the data."""
    key_env: str | None = execution("OPENAI_API_KEY")
    """Environment variable with the key; empty: the endpoint asks for none."""
    concurrency: int = execution(8, ge=1)
    """Requests at the same time."""
    timeout_seconds: float = execution(60.0, gt=0)
    """Seconds to wait for one reply."""
    retries: int = execution(4, ge=0)
    """Times that a request is sent again after a time-out, a lost connection, a status 429 or one of the server's (5xx)."""

    @field_validator("prompt")
    @classmethod
    def _both_places(cls, prompt: str) -> str:
        if "{instruction}" not in prompt or "{response}" not in prompt:
            raise ValueError("the prompt needs both {instruction} and {response}")
        return prompt


class FilterConfig(Section):
    """The filters that need no parse. METHOD: stage 1. Each can be turned off; a row that one takes is counted."""

    near_duplicates: float | None = Field(0.8, gt=0, le=1)
    """Filter a pair whose shingles of 5 words have at least this Jaccard similarity (estimated by MinHash) with those of an
    earlier pair that is kept. Empty: off."""
    decontaminate: bool = True
    """Filter pairs that share a run of words with the prompt or the solution of a task in `evaluate.benchmarks`. Not of the
    embedded `tiny`, whose tasks are held out of its pairs by their content, and share their phrases."""
    decontaminate_ngram: int = Field(13, ge=2)
    """Words of such a run."""
    min_quality: float | None = None
    """Filter pairs of a lower quality, on the scale of the data (0 to 5 with `rating`); pairs without one stay."""
    rating: RatingConfig | None = None
    """Rate pairs without a quality. Empty: off."""

    @property
    def takes_rows(self) -> bool:
        """Whether there is anything to do before the pairs are prepared."""
        return bool(self.near_duplicates or self.decontaminate or self.min_quality is not None or self.rating)


class ModelConfig(Section):
    """The model that is trained, and scores as the reference unless `score.model` names another."""

    path: StoredPlace = TINY
    """`tiny`, a Hugging Face directory here or in an object store, or a hub name."""
    revision: str | None = None
    """Revision of a hub model."""
    max_length: int | None = Field(None, ge=8)
    """Tokens of a rendered pair; longer pairs are rejected. Empty: the model's own context."""


class PrepareConfig(Section):
    """Rendering, segmentation and the filters that need a parse."""

    max_item_tokens: int = Field(64, ge=1)
    """A statement with at most this many tokens is one item; a larger one is cut at its bodies."""
    mutation_defines: bool = False
    """Count `x.append(..)`, `x[k] = ..` and `x.a = ..` as a definition and a use of x."""
    require_code: bool = True
    """Filter pairs in whose response no code was found."""
    require_syntax: bool = True
    """Filter pairs whose code is tagged or recognised as a language with a grammar, and does not parse."""
    max_row_seconds: float = Field(60.0, gt=0)
    """CPU seconds for the segmentation of one response; one that takes longer is rejected (1 MB on one line takes up to 7)."""


class ScoreConfig(Section):
    """The reference model's pass over every pair."""

    model: StoredPlace | None = None
    """Reference model; empty: the one of the section `model`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the pass."""
    second_model: StoredPlace | None = None
    """A second model, for strategies that compare two (`rho1`, `token_cleaning`, `sstoken`): a directory, a hub name, or
    `arm:NAME` for the model that an earlier arm of this run trains."""
    batch_tokens: int = execution(8192, ge=1)
    """Padded tokens of one forward pass."""


class RankConfig(Section):
    """Which pairs come first, where `select` keeps a share of them. METHOD: stage 1, rank and keep."""

    by: list[str] = ["quality", "parses", "answers", "long_tail"]
    """Rankers, the most important one first: each but the last in steps 0 to 5, the last by its value. A pair of which one
    knows nothing is in the middle for it. `quality`, `parses`, `answers`, `runs_examples`, `near_duplicate`, `length`,
    `long_tail`, `loss_tails` (the whole pool is scored first), `random`."""
    combine: Literal["lexicographic", "mean"] = "lexicographic"
    """Make one ranking by the first ranker, equals by the second, and so on; or by the mean of the places in all of them."""
    embedding: Literal["words", "layers", "model"] = "words"
    """In what space `long_tail` and `near_duplicate` measure: hashed n-grams of words (no model), the reference's first layers
    on the prompt, or the whole reference on the whole pair, which costs as much as scoring the pool."""

    @field_validator("by")
    @classmethod
    def _some_once(cls, by: list[str]) -> list[str]:
        if not by or len(set(by)) < len(by):
            raise ValueError("name at least one ranker, and none twice; `random` is a lottery")
        return by


class ArmConfig(Section):
    """One arm of the comparison."""

    strategy: str | None = None
    """Name of a selection strategy; empty: the model as it is, without training."""
    select: dict[str, Any] = {}
    """Fields of the section `select` that differ in this arm."""
    generate: bool = True
    """Answer the benchmarks and grade the answers; false: this arm is told apart by its reference nll alone."""


class LoraConfig(Section):
    """Low-rank adapters; used where `train.mode` is `lora`."""

    rank: int = Field(16, ge=1)
    """Rank of the adapters."""
    alpha: float = Field(32, gt=0)
    """Scale of the adapters; the update is multiplied by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout before the adapters."""
    target_modules: list[str] | Literal["all-linear"] = "all-linear"
    """Layers that get adapters."""


class TrainConfig(Section):
    """The recipe that all arms share."""

    mode: Literal["full", "lora"] = "full"
    """Train all weights, or low-rank adapters."""
    lora: LoraConfig = LoraConfig()
    """Settings of the adapters."""
    steps: int | None = Field(None, ge=1)
    """Optimiser steps, the same for all arms. Set this or `epochs`."""
    epochs: float | None = Field(None, gt=0)
    """Passes over the arm's own pairs. Set this or `steps`."""
    batch_pairs: int = Field(32, ge=1)
    """Pairs in one optimiser step, over all workers and accumulation steps."""
    batch_supervised_tokens: int | None = Field(None, ge=1)
    """Supervised tokens in one optimiser step, in place of `batch_pairs`: arms with thin masks then get as much signal a step
    as those with full ones. The pair that reaches the number is the last of its step."""
    learning_rate: float = Field(2e-4, gt=0)
    """Peak learning rate."""
    warmup_share: float = Field(0.1, ge=0, le=1)
    """Share of the steps with linear warm-up."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Learning rate after the warm-up."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay of matrices."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this norm."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the forward pass (autocast); weights and optimiser stay float32."""
    gradient_checkpointing: bool = execution(False)
    """Recompute activations in the backward pass: less memory, more time."""
    dev_pairs: int = Field(64, ge=0)
    """Pairs held out of training, for the nll of supervised and unsupervised tokens by class."""
    dev_every: int = Field(20, ge=1)
    """Steps between two looks at the dev pairs."""
    stop_after_looks: int | None = Field(None, ge=1)
    """End the fit after so many looks at the dev pairs in a row without a lower nll of their supervised tokens. Empty: train
    all steps, as a comparison of arms at equal steps needs it."""
    keep: Literal["last", "best"] = "last"
    """Weights that a fit ends with: after the last step, or at the lowest nll of the dev pairs' supervised tokens."""
    micro_batch_tokens: int = execution(8192, ge=1)
    """Padded tokens of one forward and backward pass of one worker."""
    pack: Literal["auto", "always", "never"] = execution("auto")
    """Pack pairs into one row without attention across them; auto: on GPU only, where it is faster."""
    checkpoint_every: int = execution(0, ge=0)
    """Steps between two checkpoints that an interrupted run resumes from; 0: none."""
    shard: bool = execution(False)
    """Share weights, gradients and moments out over the workers of a fit (FSDP2), where one GPU is too small for all weights.
    Needs `mode: full`; the losses are the same."""
    max_failures: int = execution(0, ge=0)
    """Times that a fit restarts from its last checkpoint after a worker died."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainConfig:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("set train.steps or train.epochs, not both")
        if self.dev_pairs == 0 and (self.keep == "best" or self.stop_after_looks):
            raise ValueError("train.keep=best and train.stop_after_looks need train.dev_pairs above 0")
        if self.shard and self.keep == "best":
            raise ValueError("train.keep=best needs train.shard=false: each worker has but a part of the weights")
        if self.shard and self.mode != "full":
            raise ValueError("train.shard=true shares out all weights and needs train.mode=full")
        return self

    def without_effect(self) -> set[str]:
        """The adapters, where all weights are trained."""
        return {"lora"} if self.mode == "full" else set()


class EvaluateConfig(Section):
    """Generation and grading."""

    benchmarks: dict[str, StoredPlace] = {TINY: TINY}
    """Benchmarks by name, each with its file, or `name@commit:file` of a hub dataset, and `#sha256=` (`tiny` needs none)."""
    limit: int | None = Field(None, ge=1)
    """Grade only the first tasks of each benchmark."""
    prompt: Literal["auto", "chat", "base"] = "auto"
    """Ask in a chat, or let the model go on from the benchmark's text; auto: a chat where the tokenizer brings a template."""
    samples: int = Field(1, ge=1)
    """Answers to each task."""
    temperature: float = Field(0.0, ge=0)
    """Temperature of sampling; 0 is greedy."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Sample from the likeliest tokens that hold this share of the probability."""
    max_new_tokens: int | None = Field(None, ge=1)
    """Tokens after which an answer is cut. Empty: the benchmark's own number."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of generation."""
    timeout_seconds: float | None = Field(None, gt=0)
    """Seconds that one solution may take. Empty: the benchmark's own number."""
    memory_mb: int | None = Field(None, ge=64)
    """Address space of one solution (MiB). Empty: the benchmark's own number."""
    reference_nll: bool = True
    """Measure the nll of the benchmarks' reference solutions too: a forward pass, for every arm and the untrained model."""
    engine: Literal["hf", "vllm"] = execution("hf")
    """What generates: transformers, anywhere; or vLLM, on GPUs."""
    batch_size: int = execution(32, ge=1)
    """Answers generated together."""
    pythons: dict[str, Place] = execution({})
    """Python interpreters by benchmark, for one whose solutions need packages of their own (`codeblock benchmark-env`)."""
    allow_missing_layers: bool = execution(False)
    """Grade on machines that lack layers of the sandbox."""

    @model_validator(mode="after")
    def _samples_differ(self) -> EvaluateConfig:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"evaluate.samples={self.samples} needs evaluate.temperature above 0: greedy answers are all the same"
            )
        return self

    def without_effect(self) -> set[str]:
        """How answers are sampled, where they are greedy."""
        return {"top_p"} if self.temperature == 0 else set()

    def python_of(self, benchmark: str) -> str | None:
        """The interpreter of a benchmark's solutions, named in full or by its family (`bigcodebench`); None: this one."""
        return self.pythons.get(benchmark) or self.pythons.get(benchmark.partition("_")[0])


class ClusterConfig(Section):
    """The only section that differs between a laptop and a cluster. Never part of a cached stage's name."""

    address: str | None = execution(None)
    """Address of a running Ray cluster; empty: `RAY_ADDRESS` where it is set, else a local one."""
    train_workers: int = execution(1, ge=1)
    """Data-parallel workers of one fit."""
    actors: int = execution(1, ge=1)
    """Actors that score or generate, each with a model of its own."""
    min_actors: int | None = execution(None, ge=1)
    """Actors that such work starts with; more follow, up to `actors`, while parts wait. Empty: all of them."""
    cpus_per_worker: float = execution(1.0, gt=0)
    """CPUs of one worker or actor."""
    gpus_per_worker: float = execution(0.0, ge=0)
    """GPUs of one worker or actor."""
    grade_processes: int | None = execution(None, ge=1)
    """Programs graded at the same time, on a cluster for each node that grades; empty: one per CPU."""


class TrackConfig(Section):
    """MLflow."""

    uri: str | None = execution(None)
    """Tracking server; empty: `MLFLOW_TRACKING_URI` where it is set, else `mlflow.db` in the storage."""
    experiment: str = execution("codeblock", min_length=1)
    """MLflow experiment."""


class Config(Section):
    """A whole run."""

    name: Name = "run"
    """Names the report's directory and the parent run in MLflow."""
    storage: Directory = execution(Path("runs"))
    """Directory of caches, reports and MLflow's database (`~` is your home); on a cluster one that all nodes share, or
    `s3://BUCKET/DIR` (docs/storage.md)."""
    seed: Seed = 0
    """Seeds every random choice."""
    seeds: list[Seed] = []
    """Seeds of selection, training and sampling, each an arm of its own; data and scores are shared. Empty: `seed` alone."""
    pairs: PairsConfig = PairsConfig()
    filter: FilterConfig = FilterConfig()
    model: ModelConfig = ModelConfig()
    prepare: PrepareConfig = PrepareConfig()
    score: ScoreConfig = ScoreConfig()
    rank: RankConfig = RankConfig()
    select: SelectConfig = SelectConfig()
    arms: dict[str, ArmConfig] = {
        "base": ArmConfig(),
        "full": ArmConfig(strategy="full"),
        "random_tokens": ArmConfig(strategy="random_tokens"),
        "codeblock": ArmConfig(strategy="codeblock"),
    }
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    cluster: ClusterConfig = ClusterConfig()
    track: TrackConfig = TrackConfig()
    sweep: SweepConfig = SweepConfig()

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds={seeds}: a seed stands there twice")
        return seeds

    @field_validator("arms")
    @classmethod
    def _some_arm(cls, arms: dict[str, ArmConfig]) -> dict[str, ArmConfig]:
        if not arms:
            raise ValueError("name at least one arm")
        for name in arms:
            check_name(name)
        return arms

    def seeds_of(self, arm: str) -> list[int]:
        """The seeds that an arm runs with; an arm without training has one."""
        return (self.seeds or [self.seed]) if self.arms[arm].strategy else [self.seed]

    def settings_of(self, arm: str) -> SelectConfig:
        """The section `select` as one arm sees it."""
        return SelectConfig.model_validate({**self.select.model_dump(), **self.arms[arm].select})
