"""What each stage reports of its work, as its marker keeps it: one typed record a stage, so that a name that is wrong is found
before anything runs.

Every record also has what each step is given by the cache (`StepRecord`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

RoleCounts = Mapping[str, Mapping[str, int]]
"""By role: tokens of the `pool` (all kept pairs) and `selected` ones."""


class StepRecord(TypedDict):
    """What the cache adds."""

    wall_seconds: NotRequired[float]
    driver_peak_mb: NotRequired[float]
    worker_peak_mb: NotRequired[float]
    """Largest memory of a worker, of those stages that have some."""


class PairsRecord(StepRecord):
    """Rows read, and pairs kept of them."""

    read: int
    kept: int
    response_bytes: int
    datasets: dict[str, dict[str, int]]
    """By data set: `read` and `kept`."""
    reasons: dict[str, int]
    notes: NotRequired[dict[str, dict[str, int]]]
    """By data set: how many kept rows have a column that was left unread, by why."""


class FilteredRecord(StepRecord):
    """Pairs that the filters have left."""

    read: int
    kept: int
    datasets: dict[str, int]
    reasons: dict[str, int]
    rating_asked: NotRequired[int]
    rating_failed: NotRequired[int]


class TokenizedRecord(StepRecord):
    """Pairs that fit the context."""

    read: int
    kept: int
    tokens: int
    response_tokens: int
    response_bytes: int
    reasons: dict[str, int]


class SegmentedRecord(TokenizedRecord):
    """Pairs with code: the pool."""

    datasets: dict[str, int]
    languages: dict[str, int]
    language_from: dict[str, int]


class RankedRecord(StepRecord):
    """The ranking of the pool."""

    pool_pairs: int
    pool_tokens: int
    by: list[str]
    combine: str
    known: dict[str, float]
    """By ranker: share of the pairs of which it knows something."""
    seconds: dict[str, float]
    warnings: list[str]


class ScoredRecord(StepRecord):
    """Scores, as many as there are by now; tokens and seconds are of the last call."""

    kept: int
    scored_now: int
    actor_seconds: float
    tokens_per_actor_second: float


class SelectedRecord(StepRecord):
    """One selection; of an arm with rounds, all of them together."""

    pool_pairs: int
    pool_tokens: int
    kept_pairs: int
    below_subset_ratio: int
    dev_pairs: int
    supervised_pairs: int
    unsupervised_pairs: int
    supervised_tokens: int
    asked_tokens: int | None
    supervised_share: float
    asked_share: float | None
    inside_share: float
    asked_inside_share: float | None
    subset_ratio: float
    subset_tokens_share: float
    asked_subset_ratio: float
    subset_ratio_of: str
    kept_tokens: int
    warnings: list[str]
    supervised_tokens_per_pair: dict[str, int]
    items: int
    items_with_structure: int
    items_left_out: int
    rerank_changed_items: int
    noise_nll: float | None
    picked: RoleCounts


class TrainedRecord(StepRecord):
    """One fit; of an arm with rounds, all of them together."""

    pairs: int
    dropped_pairs: int
    trimmed_tokens: int
    dropped_tokens: int
    world_size: int
    steps: int
    resumed_from_step: int
    supervised_tokens: int
    processed_tokens: int
    train_seconds: float
    peak_memory_mb: float
    tokens_per_second: float


class GeneratedRecord(StepRecord):
    """Answers to a benchmark."""

    prompt: str
    generate_seconds: float
    tokens_generated: int
    truncated: int
    answer_ends: dict[str, int]


class GradedRecord(StepRecord):
    """Verdicts on them; also `pass_at_10` and `pass_at_10_interval` and the like, where samples are enough (`pass_rates`)."""

    benchmark: str
    provenance: str
    tasks: int
    samples: int
    programs: int
    passed: int
    pass_at_1: float
    base_pass_at_1: NotRequired[float]
    low: float
    high: float
    verdicts: dict[str, int]
    missing_tasks: list[str]
    unknown_tasks: list[str]
    not_run: dict[str, list[str]]
    reference_failures: dict[str, str]
    missing_layers: list[str]
    grade_seconds: float
    graded_on: NotRequired[dict[str, int]]
    """Programs by node, where they were shared out over a cluster."""


class EvaluatedRecord(GeneratedRecord, GradedRecord):
    """Answers and verdicts of one benchmark."""


class NllRecord(StepRecord):
    """The nll of a benchmark's references."""

    tasks: int
    reasons: dict[str, int]
    nll: float | None
    low: float | None
    high: float | None
    tokens: int
    closing_nll: float | None
    input_tokens: int
    seconds: float
