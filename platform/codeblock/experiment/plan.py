"""What a config asks for, as cached steps: which there are, what decides each, and which are done already.

Identities chain: a step's identity holds the keys of the steps it reads, so a change of the budget names new selections and
fits and leaves pairs, tokens and scores where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from codeblock import tiny
from codeblock.core.config import TINY, Config
from codeblock.core.config.pairs import PairsSource
from codeblock.data.rank.driver import needs_model, needs_scores
from codeblock.data.read.files import DataSet, find_files, sources_of
from codeblock.evaluate.benchmarks import tasks_fingerprint
from codeblock.experiment.arms import ArmPlan, Model, arm_name, plan_rounds
from codeblock.experiment.cache import Step
from codeblock.experiment.fingerprint import model_fingerprint
from codeblock.experiment.reach import Reach
from codeblock.selection.stage import SelectRequest
from codeblock.selection.strategies import get_strategy, shares_of

VERSION = {
    "pairs": 3,
    "filtered": 2,
    "prepared": 8,
    "embedded": 1,
    "ranked": 2,
    "kept": 1,
    "scored": 3,
    "selected": 4,
    "trained": 2,
    "generated": 1,
    "graded": 1,
    "reference_nll": 2,
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
    pool_scored: Step | None
    """The reference's nll of the whole pool, where pairs are ranked by it."""
    embedded: Step | None
    """Embeddings of the whole pool by the reference, where pairs are ranked by them."""
    ranked: Step
    kept: Step
    scored: Step
    reach: Reach
    """How many of the best pairs the arms look at."""
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
    def data_sets(self) -> list[DataSet]:
        """The data sets that are joined, with their files."""
        return [
            DataSet(
                source, find_files(str(self._tiny_home / "pairs.jsonl") if source.path == TINY else source.path, source.split)
            )
            for source in sources_of(self.config.pairs)
        ]

    def benchmark_path(self, name: str) -> str:
        """File of a benchmark's tasks."""
        path = self.config.evaluate.benchmarks[name]
        return str(self._tiny_home / "benchmark.jsonl") if path == TINY else path

    @property
    def _tiny_home(self) -> Path:
        assert self.tiny is not None
        return self.tiny.directory

    def selection(self, arm: ArmPlan) -> SelectRequest:
        """What an arm's selection is asked for, but for its rounds."""
        assert arm.strategy is not None
        config = self.config
        return SelectRequest(
            self.scored.directory,
            self.ranked.directory,
            arm.strategy,
            arm.settings,
            config.select.shares,
            seed=arm.seed,
            split_seed=config.seed,
            dev_pairs=config.train.dev_pairs,
        )

    def asked_shares(self) -> list[str]:
        """A line for each arm that trains: the three shares that it asks for."""
        lines = {}
        for arm in self.arms:
            if arm.strategy is not None:
                rule = get_strategy(arm.strategy)
                shares = shares_of(rule, arm.settings)
                subset = f"the best {shares.subset_ratio:.2%} of the pool's {'pairs' if shares.of_pairs else 'tokens'}"
                what = "whole responses of" if rule.whole_pairs else "all that the strategy takes inside"
                if rule.budgeted:
                    what = f"{shares.token_budget:.2%} of the pool's tokens, {shares.inside_share:.0%} inside"
                lines[arm.arm] = f"asked by {arm.arm}: {what} {subset}"
        return list(lines.values())

    def steps(self) -> list[Step]:
        """All steps in order."""
        steps = (
            *(self.tiny, self.pairs, self.filtered, self.prepared),
            *(self.pool_scored, self.embedded, self.ranked, self.kept, self.scored),
        )
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
    pairs = _step(cache, "pairs", "pairs", input=_pairs_input(config, tiny_step), **_without_sources(config))
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
    pool_scored, embedded, ranked = _ranked(config, prepared, reference, cache)
    reach = Reach(config, ranked)
    kept = _step(cache, "kept", "keep", rows=reach, ranked=ranked.key)
    scored = _step(cache, "scored", "score", rows=reach, kept=kept.key, model=reference.fingerprint, dtype=config.score.dtype)
    data = (pairs, filtered, prepared, pool_scored, embedded, ranked, kept, scored)
    untrained = _reference_nll(config, "untrained", model.fingerprint, tiny_step, cache)
    plan = Plan(config, tiny_step, model, reference, *data, reach, [], untrained)
    for name in config.arms:
        for seed in config.seeds_of(name):
            plan.arms.append(_arm(plan, name, seed, tiny_step, cache))
    return plan


def _ranked(config: Config, prepared: Step, reference: Model, cache: Path) -> tuple[Step | None, Step | None, Step]:
    """The ranking of the pool, and before it the passes of the reference over the pool that its rankers need."""
    asked = config.rank
    of_model: dict[str, Any] = {"prepared": prepared.key, "model": reference.fingerprint, "dtype": config.score.dtype}
    pool_scored = embedded = None
    if needs_scores(asked):
        pool_scored = _step(cache, "scored", "score[pool]", column="pool_nll", **of_model)
    if needs_model(asked):
        embedded = _step(cache, "embedded", "embed", embedding=asked.embedding, **of_model)
    read: dict[str, Any] = {step.stage: step.key for step in (pool_scored, embedded) if step is not None}
    ranked = _step(cache, "ranked", "rank", prepared=prepared.key, seed=config.seed, **read, **asked.identity())
    return pool_scored, embedded, ranked


def _step(cache: Path, stage: str, label: str, rows: Reach | None = None, **identity: Any) -> Step:
    return Step(stage, label, {"version": VERSION.get(stage), **identity}, cache, rows)


def _tiny_step(config: Config, cache: Path) -> Step | None:
    sources = {source.path for source in sources_of(config.pairs)}
    asked = {*sources, config.model.path, config.score.model, *config.evaluate.benchmarks.values()}
    if TINY not in asked:
        return None
    return _step(cache, "tiny", "tiny", seed=config.seed, **tiny.identity())


def _model(path: str, revision: str | None, tiny_step: Step | None, cache: Path) -> Model:
    if path == TINY and tiny_step is not None:
        return Model(str(tiny_step.directory / "model"), None, f"tiny:{tiny_step.key}")
    return Model(path, revision, model_fingerprint(path, revision, cache))


def _pairs_input(config: Config, tiny_step: Step | None) -> list[dict[str, Any]]:
    """What decides the rows of each data set, in the order in which they are read."""
    return [
        {"name": source.name, "columns": source.columns, "split": source.split, "content": _content(source, tiny_step)}
        for source in sources_of(config.pairs)
    ]


def _content(source: PairsSource, tiny_step: Step | None) -> str:
    if source.path == TINY and tiny_step is not None:
        return f"tiny:{tiny_step.key}"
    return DataSet(source, find_files(source.path, source.split)).fingerprint()


def _without_sources(config: Config) -> dict[str, Any]:
    told = ("path", "split", "revision", "columns")
    return {key: value for key, value in config.pairs.identity().items() if key not in told}


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


def _arm(plan: Plan, arm: str, seed: int, tiny_step: Step | None, cache: Path) -> ArmPlan:
    """The steps of one arm with one seed; `plan` has the arms before it."""
    config, name = plan.config, arm_name(plan.config, arm, seed)
    rounds = plan_rounds(plan, arm, seed, partial(_step, cache), lambda path: _model(path, None, tiny_step, cache))
    model = rounds[-1].trained.key if rounds else plan.model.fingerprint
    generated, graded = {}, {}
    for benchmark, path in config.evaluate.benchmarks.items() if config.arms[arm].generate else ():
        tasks = _tasks(benchmark, path, tiny_step)
        answers = _answers(
            config, seed, model, partial(_step, cache, "generated", f"generate[{name}, {benchmark}]", tasks=tasks)
        )
        generated[benchmark] = answers
        graded[benchmark] = _step(
            cache,
            "graded",
            f"grade[{name}, {benchmark}]",
            answers=answers.key,
            tasks=tasks,
            timeout_seconds=config.evaluate.timeout_seconds,
            memory_mb=config.evaluate.memory_mb,
        )
    measured = _reference_nll(config, name, model, tiny_step, cache)
    settings = config.settings_of(arm)
    return ArmPlan(arm, seed, name, config.arms[arm].strategy, settings, rounds, generated, graded, measured)


def _reference_nll(config: Config, label: str, model: str, tiny_step: Step | None, cache: Path) -> dict[str, Step]:
    """The steps that measure a model's reference nll, by benchmark; none where the config does not ask for it."""
    asked = config.evaluate
    if not asked.reference_nll:
        return {}
    settings: dict[str, Any] = {"prompt": asked.prompt, "dtype": asked.dtype, "limit": asked.limit, "model": model}
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


def _answers(config: Config, seed: int, model: str, step: Callable[..., Step]) -> Step:
    """The step of the answers to a benchmark: all that the config says of evaluation but how answers are graded."""
    others = ("benchmarks", "reference_nll", "timeout_seconds", "memory_mb")
    settings = {key: value for key, value in config.evaluate.identity().items() if key not in others}
    return step(model=model, **settings, **({"seed": seed} if config.evaluate.temperature > 0 else {}))


def _tasks(benchmark: str, path: str, tiny_step: Step | None) -> str:
    if path == TINY and tiny_step is not None:
        return f"tiny:{tiny_step.key}"
    return tasks_fingerprint(benchmark, path)
