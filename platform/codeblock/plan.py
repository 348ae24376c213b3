"""What a config asks for, as cached steps: which there are, what decides each, and which are done already.

Identities chain: a step's identity holds the keys of the steps it reads, so a change of the budget names new selections and
fits and leaves pairs, tokens and scores where they are.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codeblock import tiny
from codeblock.cache import Step
from codeblock.config import TINY, Config, SelectConfig
from codeblock.errors import CodeBlockError
from codeblock.evaluate.benchmarks import load
from codeblock.fingerprint import model_fingerprint
from codeblock.pairs.files import InputFile, find_files, fingerprint
from codeblock.select import get_strategy

VERSION = {
    "pairs": 1,
    "filtered": 1,
    "prepared": 3,
    "embedded": 1,
    "long_tail": 1,
    "scored": 1,
    "selected": 2,
    "trained": 1,
    "evaluated": 1,
}
"""Raised with each change of a stage's code that changes its output: older results are then no longer valid."""


@dataclass(frozen=True)
class Model:
    """A model by where it lies and what it is."""

    path: str
    revision: str | None
    fingerprint: str


@dataclass(frozen=True)
class ExtraColumn:
    """A column that a second model adds to the scores."""

    step: Step
    model: Model


@dataclass(frozen=True)
class ArmPlan:
    """The steps of one arm; the untrained arm has only evaluations."""

    name: str
    strategy: str | None
    settings: SelectConfig
    extra: dict[str, ExtraColumn]
    """What the strategy needs beside the reference's scores, by column."""
    selected: Step | None
    trained: Step | None
    evaluated: dict[str, Step]

    def steps(self) -> list[Step]:
        """All steps in order."""
        extra = [column.step for column in self.extra.values()]
        return [*extra, *(step for step in (self.selected, self.trained, *self.evaluated.values()) if step is not None)]


@dataclass(frozen=True)
class Plan:
    """All steps of a config."""

    config: Config
    tiny: Step | None
    model: Model
    reference: Model
    pairs: Step
    filtered: Step | None
    prepared: Step
    scored: Step
    embedded: Step | None
    long_tail: Step | None
    arms: list[ArmPlan]

    @property
    def to_prepare(self) -> Step:
        """The step whose pairs are prepared: the last one before it."""
        return self.filtered or self.pairs

    @property
    def decontaminated(self) -> list[str]:
        """Names of the benchmarks whose tasks pairs must not hold."""
        return list(_decontaminated(self.config))

    @property
    def files(self) -> list[InputFile]:
        """The input files; empty for a Hugging Face dataset."""
        path = self.config.pairs.path
        return find_files(str(self._tiny_home / "pairs.jsonl") if path == TINY else path)

    def benchmark_path(self, name: str) -> str:
        """File of a benchmark's tasks."""
        path = self.config.evaluate.benchmarks[name]
        return str(self._tiny_home / "benchmark.jsonl") if path == TINY else path

    @property
    def _tiny_home(self) -> Path:
        assert self.tiny is not None
        return self.tiny.directory

    def steps(self) -> list[Step]:
        """All steps in order."""
        steps = (self.tiny, self.pairs, self.filtered, self.prepared, self.scored, self.embedded, self.long_tail)
        return [*(step for step in steps if step is not None), *(step for arm in self.arms for step in arm.steps())]


def make_plan(config: Config, cache: Path) -> Plan:
    """The steps of a config with their cache below `cache`. Reads inputs for their fingerprints, computes nothing.

    Raises CodeBlockError for paths, models, benchmarks or strategies that do not exist.
    """
    tiny_step = _tiny_step(config, cache)
    model = _model(config.model.path, config.model.revision, tiny_step, cache)
    reference = _model(config.score.model, None, tiny_step, cache) if config.score.model else model
    pairs = _step(cache, "pairs", "pairs", input=_pairs_fingerprint(config, tiny_step), **_without_path(config))
    filtered = _filtered(config, pairs, tiny_step, cache)
    prepared = _step(
        cache,
        "prepared",
        "prepare",
        pairs=(filtered or pairs).key,
        tokenizer=model.fingerprint,
        max_length=config.model.max_length,
        **config.prepare.identity(),
    )
    scored = _step(cache, "scored", "score", prepared=prepared.key, model=reference.fingerprint, dtype=config.score.dtype)
    embedded = long_tail = None
    if config.filter.long_tail:
        embedded = _step(
            cache, "embedded", "embed", prepared=prepared.key, model=reference.fingerprint, dtype=config.score.dtype
        )
        long_tail = _step(cache, "long_tail", "long_tail", embedded=embedded.key)
    arms: list[ArmPlan] = []
    for name in config.arms:
        arms.append(_arm(config, name, model, prepared, scored, long_tail, arms, tiny_step, cache))
    return Plan(config, tiny_step, model, reference, pairs, filtered, prepared, scored, embedded, long_tail, arms)


def _step(cache: Path, stage: str, label: str, **identity: Any) -> Step:
    return Step(stage, label, {"version": VERSION.get(stage), **identity}, cache)


def _tiny_step(config: Config, cache: Path) -> Step | None:
    asked = {config.pairs.path, config.model.path, config.score.model, *config.evaluate.benchmarks.values()}
    if TINY not in asked:
        return None
    return _step(cache, "tiny", "tiny", seed=config.seed, **tiny.identity())


def _model(path: str, revision: str | None, tiny_step: Step | None, cache: Path) -> Model:
    if path == TINY and tiny_step is not None:
        return Model(str(tiny_step.directory / "model"), None, f"tiny:{tiny_step.key}")
    return Model(path, revision, model_fingerprint(path, revision, cache))


def _pairs_fingerprint(config: Config, tiny_step: Step | None) -> str:
    if config.pairs.path == TINY and tiny_step is not None:
        return f"tiny:{tiny_step.key}"
    files = find_files(config.pairs.path)
    return fingerprint(files) if files else f"{config.pairs.path}@{config.pairs.split}@{config.pairs.revision}"


def _without_path(config: Config) -> dict[str, Any]:
    return {key: value for key, value in config.pairs.identity().items() if key not in ("path", "split", "revision")}


def _second_model(config: Config, arm: str, before: list[ArmPlan], tiny_step: Step | None, cache: Path) -> Model:
    """The model of `score.second_model`: one of its own, or the one that an earlier arm trains."""
    path = config.score.second_model
    if path is None:
        raise CodeBlockError(f"arms.{arm}: its strategy compares two models; set score.second_model (a path, or arm:NAME)")
    if not path.startswith("arm:"):
        return _model(path, None, tiny_step, cache)
    trained = {plan.name: plan.trained for plan in before if plan.trained is not None}
    step = trained.get(path.removeprefix("arm:"))
    if step is None:
        there = ", ".join(trained) or "none"
        raise CodeBlockError(f"score.second_model={path}: no arm of that name is trained before {arm}; there are: {there}")
    return Model(str(step.directory / "model"), None, f"trained:{step.key}")


def _filtered(config: Config, pairs: Step, tiny_step: Step | None, cache: Path) -> Step | None:
    """The filters that are on; None where none is."""
    asked = config.filter
    if not asked.takes_rows:
        return None
    identity: dict[str, Any] = {"near_duplicates": asked.near_duplicates, "min_quality": asked.min_quality}
    if asked.decontaminate:
        identity["ngram"] = asked.decontaminate_ngram
        identity["benchmarks"] = {name: _tasks(name, path, tiny_step) for name, path in _decontaminated(config).items()}
    if asked.rating is not None:
        identity["rating"] = asked.rating.identity()
    return _step(cache, "filtered", "filter", pairs=pairs.key, **identity)


def _decontaminated(config: Config) -> dict[str, str]:
    """Benchmarks by name, with their paths, whose tasks pairs must not hold."""
    return {name: path for name, path in sorted(config.evaluate.benchmarks.items()) if path != TINY}


def _arm(
    config: Config,
    name: str,
    model: Model,
    prepared: Step,
    scored: Step,
    long_tail: Step | None,
    before: list[ArmPlan],
    tiny_step: Step | None,
    cache: Path,
) -> ArmPlan:
    settings = config.settings_of(name)
    strategy = config.arms[name].strategy
    extra: dict[str, ExtraColumn] = {}
    selected = trained = None
    if strategy is not None:
        rule = get_strategy(strategy)
        for column in sorted(rule.needs):
            second = _second_model(config, name, before, tiny_step, cache)
            identity = {"prepared": prepared.key, "model": second.fingerprint, "dtype": config.score.dtype}
            extra[column] = ExtraColumn(_step(cache, "scored", f"score[{column}]", column=column, **identity), second)
        fields = sorted({"subset_ratio", "supervise_eos", "background_weight", *rule.uses})
        selected = _step(
            cache,
            "selected",
            f"select[{name}]",
            scored=scored.key,
            strategy=strategy,
            seed=config.seed,
            dev_pairs=config.train.dev_pairs,
            **{column: needed.step.key for column, needed in extra.items()},
            **({"long_tail": long_tail.key} if long_tail else {}),
            **{field: getattr(settings, field) for field in fields},
        )
        trained = _step(
            cache,
            "trained",
            f"train[{name}]",
            selected=selected.key,
            model=model.fingerprint,
            seed=config.seed,
            **config.train.identity(),
        )
    evaluated = {
        benchmark: _evaluation(config, name, benchmark, path, trained.key if trained else model.fingerprint, tiny_step, cache)
        for benchmark, path in config.evaluate.benchmarks.items()
    }
    return ArmPlan(name, strategy, settings, extra, selected, trained, evaluated)


def _evaluation(config: Config, arm: str, benchmark: str, path: str, model: str, tiny_step: Step | None, cache: Path) -> Step:
    tasks = _tasks(benchmark, path, tiny_step)
    settings = {key: value for key, value in config.evaluate.identity().items() if key != "benchmarks"}
    return _step(cache, "evaluated", f"evaluate[{arm}, {benchmark}]", benchmark=benchmark, tasks=tasks, model=model, **settings)


def _tasks(benchmark: str, path: str, tiny_step: Step | None) -> str:
    if path == TINY and tiny_step is not None:
        return f"tiny:{tiny_step.key}"
    tasks = [asdict(task) for task in load(benchmark, path).tasks]
    return hashlib.sha256(json.dumps(tasks).encode()).hexdigest()
