"""What a config asks for, as cached steps: which there are, what decides each, and which are done already.

Identities chain: a step's identity holds the keys of the steps it reads, so a change of the budget names new selections and
fits and leaves pairs, tokens and scores where they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from codeblock import tiny
from codeblock.arms import ArmPlan, Model, plan_rounds
from codeblock.cache import Step
from codeblock.config import TINY, Config
from codeblock.evaluate.benchmarks import tasks_fingerprint
from codeblock.fingerprint import model_fingerprint
from codeblock.pairs.files import InputFile, find_files, fingerprint

VERSION = {
    "pairs": 1,
    "filtered": 1,
    "prepared": 5,
    "embedded": 1,
    "long_tail": 1,
    "scored": 1,
    "selected": 3,
    "trained": 1,
    "evaluated": 3,
    "reference_nll": 1,
}
"""Raised with each change of a stage's code that changes its output: older results are then no longer valid."""


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
    untrained_nll: dict[str, Step] = field(default_factory=dict)
    """Reference nll of the untrained model by benchmark, which every arm is held against. An untrained arm shares it."""

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
        of_arms = [step for arm in self.arms for step in arm.steps()]
        known = {step.key for step in of_arms}
        alone = [step for step in self.untrained_nll.values() if step.key not in known]
        return [*(step for step in steps if step is not None), *of_arms, *alone]


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
    untrained = _reference_nll(config, "untrained", model.fingerprint, tiny_step, cache)
    plan = Plan(config, tiny_step, model, reference, pairs, filtered, prepared, scored, embedded, long_tail, [], untrained)
    for name in config.arms:
        plan.arms.append(_arm(plan, name, tiny_step, cache))
    return plan


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


def _arm(plan: Plan, name: str, tiny_step: Step | None, cache: Path) -> ArmPlan:
    """The steps of one arm; `plan` has the arms before it."""
    config = plan.config
    rounds = plan_rounds(plan, name, partial(_step, cache), lambda path: _model(path, None, tiny_step, cache))
    model = rounds[-1].trained.key if rounds else plan.model.fingerprint
    evaluated = {
        benchmark: _evaluation(config, name, benchmark, path, model, tiny_step, cache)
        for benchmark, path in config.evaluate.benchmarks.items()
    }
    measured = _reference_nll(config, name, model, tiny_step, cache)
    settings = config.settings_of(name)
    return ArmPlan(name, config.arms[name].strategy, settings, rounds, evaluated, measured, name, config.seed)


def _reference_nll(config: Config, label: str, model: str, tiny_step: Step | None, cache: Path) -> dict[str, Step]:
    """The steps that measure a model's reference nll, by benchmark; none where the config does not ask for it."""
    asked = config.evaluate
    if not asked.reference_nll:
        return {}
    settings = {"prompt": asked.prompt, "dtype": asked.dtype, "limit": asked.limit, "model": model}
    return {
        name: _step(
            cache,
            "reference_nll",
            f"reference_nll[{label}, {name}]",
            benchmark=name,
            tasks=_tasks(name, path, tiny_step),
            **settings,
        )
        for name, path in asked.benchmarks.items()
    }


def _evaluation(config: Config, arm: str, benchmark: str, path: str, model: str, tiny_step: Step | None, cache: Path) -> Step:
    tasks = _tasks(benchmark, path, tiny_step)
    settings = {key: value for key, value in config.evaluate.identity().items() if key not in ("benchmarks", "reference_nll")}
    if config.evaluate.temperature > 0:
        settings["seed"] = config.seed
    return _step(cache, "evaluated", f"evaluate[{arm}, {benchmark}]", benchmark=benchmark, tasks=tasks, model=model, **settings)


def _tasks(benchmark: str, path: str, tiny_step: Step | None) -> str:
    if path == TINY and tiny_step is not None:
        return f"tiny:{tiny_step.key}"
    return tasks_fingerprint(benchmark, path)
