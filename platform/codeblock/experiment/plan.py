"""What a config asks for, as cached steps: which there are, what decides each, and which are done already.

Identities chain: a step's identity holds digests of what the steps that it reads have written, so a change of the budget names
new selections and fits and leaves pairs, tokens and scores where they are, and a change that alters no row ends with its step.
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
from codeblock.core.storage import places
from codeblock.core.storage.scores import Covered
from codeblock.data.rank.driver import needs_model, needs_scores
from codeblock.data.read.files import DataSet, find_files, sources_of
from codeblock.evaluate.benchmarks import tasks_fingerprint
from codeblock.experiment.arms import ArmPlan, Model, arm_name, plan_rounds
from codeblock.experiment.cache import Product, Step
from codeblock.experiment.fingerprint import model_fingerprint
from codeblock.experiment.reach import Reach, ids_of
from codeblock.experiment.versions import GENERATING, TOKENIZING, installed, interpreter
from codeblock.segmentation.languages import grammar_packages
from codeblock.selection.stage import SelectRequest
from codeblock.selection.strategies import get_strategy, shares_of

VERSION = {
    "pairs": 4,
    "filtered": 2,
    "tokenized": 1,
    "segmented": 1,
    "embedded": 1,
    "ranked": 4,
    "kept": 2,
    "scored": 4,
    "selected": 5,
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
    tokenized: Step
    segmented: Step
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
    def to_tokenize(self) -> Step:
        """The step whose pairs are tokenized: the last one before it."""
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
    def starts_from_tiny(self) -> bool:
        """Whether pairs or models are the embedded ones; else of these only the benchmark is read, and by evaluation alone."""
        config = self.config
        return TINY in {config.model.path, config.score.model, *(source.path for source in sources_of(config.pairs))}

    @property
    def _tiny_home(self) -> Path:
        assert self.tiny is not None
        return self.tiny.directory

    def selection(self, arm: ArmPlan) -> SelectRequest:
        """What an arm's selection is asked for, but for its rounds."""
        assert arm.strategy is not None
        config = self.config
        return SelectRequest(
            self.kept.directory,
            self.ranked.directory,
            arm.strategy,
            arm.settings,
            config.select.shares,
            scores={"nll": self.scored.directory},
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
            *(self.tiny, self.pairs, self.filtered, self.tokenized, self.segmented),
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
    rendering = {"tokenizer": model.fingerprint, "libraries": installed(TOKENIZING), "version": VERSION["tokenized"]}
    tokenized = _step(
        cache, "tokenized", "tokenize", pairs=Product(filtered or pairs), max_length=config.model.max_length, **rendering
    )
    grammars = installed(grammar_packages())
    segmented = _step(
        cache, "segmented", "segment", tokenized=Product(tokenized), grammars=grammars, **config.prepare.identity()
    )
    pool_scored, embedded, ranked = _ranked(config, segmented, reference, rendering, cache)
    reach = Reach(config, ranked)
    kept = _step(cache, "kept", "keep", rows=reach, after=ranked, segmented=Product(segmented), ranked=Product(ranked))
    scored = scoring(config, "score", reference, rendering, cache, covers=Covered(reach.ids), after=ranked)
    data = (pairs, filtered, tokenized, segmented, pool_scored, embedded, ranked, kept, scored)
    untrained = _reference_nll(config, "untrained", model.fingerprint, tiny_step, cache)
    plan = Plan(config, tiny_step, model, reference, *data, reach, [], untrained)
    for name in config.arms:
        for seed in config.seeds_of(name):
            plan.arms.append(_arm(plan, name, seed, tiny_step, cache))
    return plan


def scoring(
    config: Config, label: str, model: Model, rendering: dict[str, Any], cache: Path, column: str = "nll", **needed: Any
) -> Step:
    """A step of scores, which are kept by id: they hold for any pool, ranking and segmentation.

    What an id stands for is decided by the version of the pairs, and its tokens by `rendering`.
    """
    identity = {"pairs": VERSION["pairs"], "rendering": rendering, "model": model.fingerprint, "dtype": config.score.dtype}
    return _step(cache, "scored", label, column=column, **identity, **needed)


def _ranked(
    config: Config, segmented: Step, reference: Model, rendering: dict[str, Any], cache: Path
) -> tuple[Step | None, Step | None, Step]:
    """The ranking of the pool, and before it the passes of the reference over the pool that its rankers need."""
    asked = config.rank
    pool_scored = embedded = None
    if needs_scores(asked):
        whole = Covered(lambda: ids_of(segmented))
        pool_scored = scoring(config, "score[pool]", reference, rendering, cache, covers=whole, after=segmented)
    if needs_model(asked):
        of_model: dict[str, Any] = {"model": reference.fingerprint, "dtype": config.score.dtype}
        embedded = _step(cache, "embedded", "embed", segmented=Product(segmented), embedding=asked.embedding, **of_model)
    read: dict[str, Any] = {step.stage: Product(step) for step in (pool_scored, embedded) if step is not None}
    ranked = _step(cache, "ranked", "rank", segmented=Product(segmented), seed=config.seed, **read, **asked.identity())
    return pool_scored, embedded, ranked


def _step(cache: Path, stage: str, label: str, **identity: Any) -> Step:
    """A step with the rest of its identity; `rows`, `covers` and `after` say how far a result that grows has to reach."""
    extent = {name: identity.pop(name) for name in ("rows", "covers", "after") if name in identity}
    return Step(stage, label, {"version": VERSION.get(stage), **identity}, cache, **extent)


def _tiny_step(config: Config, cache: Path) -> Step | None:
    """The embedded default, where something of it is asked for. Its key stands for its files: it reads nothing but the seed."""
    sources = {source.path for source in sources_of(config.pairs)}
    asked = {*sources, config.model.path, config.score.model, *config.evaluate.benchmarks.values()}
    if TINY not in asked:
        return None
    return _step(cache, "tiny", "tiny", seed=config.seed, **tiny.identity())


def _model(path: str, revision: str | None, tiny_step: Step | None, cache: Path) -> Model:
    if path == TINY and tiny_step is not None:
        return Model(str(tiny_step.directory / "model"), None, f"tiny:{tiny_step.key}")
    path = places.local_path(path)
    return Model(path, revision, model_fingerprint(path, revision, cache))


def _pairs_input(config: Config, tiny_step: Step | None) -> list[dict[str, Any]]:
    """What decides the rows of each data set, in the order in which they are read."""
    return [
        {"name": source.name, "columns": source.columns, "split": source.split, "content": _content(source, tiny_step)}
        for source in sources_of(config.pairs)
    ]


def _content(source: PairsSource, tiny_step: Step | None) -> str:
    if source.path == TINY and tiny_step is not None:
        return f"{TINY}:{tiny_step.key}"
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
    return _step(cache, "filtered", "filter", pairs=Product(pairs), **identity)


def _decontaminated(config: Config) -> dict[str, str]:
    """Benchmarks by name, with their paths, whose tasks pairs must not hold."""
    return {name: path for name, path in sorted(config.evaluate.benchmarks.items()) if path != TINY}


def _arm(plan: Plan, arm: str, seed: int, tiny_step: Step | None, cache: Path) -> ArmPlan:
    """The steps of one arm with one seed; `plan` has the arms before it."""
    config, name = plan.config, arm_name(plan.config, arm, seed)
    rounds = plan_rounds(
        plan, arm, seed, partial(_step, cache), partial(_second_scores, plan), lambda path: _model(path, None, tiny_step, cache)
    )
    model = Model.trained_by(rounds[-1].trained).fingerprint if rounds else plan.model.fingerprint
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
            answers=Product(answers),
            tasks=tasks,
            interpreter=interpreter(config.evaluate.python_of(benchmark)),
            timeout_seconds=config.evaluate.timeout_seconds,
            memory_mb=config.evaluate.memory_mb,
        )
    measured = _reference_nll(config, name, model, tiny_step, cache)
    settings = config.settings_of(arm)
    return ArmPlan(arm, seed, name, config.arms[arm].strategy, settings, rounds, generated, graded, measured)


def _second_scores(plan: Plan, label: str, model: Model, column: str) -> Step:
    """The kept pairs under a second model, rendered as they are under the first."""
    rendering, needed = plan.scored.decided_by["rendering"], Covered(plan.reach.ids)
    return scoring(plan.config, label, model, rendering, plan.scored.cache, column, covers=needed, after=plan.ranked)


def _reference_nll(config: Config, label: str, model: str | Product, tiny_step: Step | None, cache: Path) -> dict[str, Step]:
    """The steps that measure a model's reference nll, by benchmark; none where the config does not ask for it."""
    asked = config.evaluate
    if not asked.reference_nll:
        return {}
    settings: dict[str, Any] = {"prompt": asked.prompt, "dtype": asked.dtype, "limit": asked.limit, "model": model}
    settings["libraries"] = installed(GENERATING)
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


def _answers(config: Config, seed: int, model: str | Product, step: Callable[..., Step]) -> Step:
    """The step of the answers to a benchmark: all that the config says of evaluation but how answers are graded."""
    others = ("benchmarks", "reference_nll", "timeout_seconds", "memory_mb")
    settings = {key: value for key, value in config.evaluate.identity().items() if key not in others}
    seeded = {"seed": seed} if config.evaluate.temperature > 0 else {}
    return step(model=model, libraries=installed(GENERATING), **settings, **seeded)


def _tasks(benchmark: str, path: str, tiny_step: Step | None) -> str:
    if path == TINY and tiny_step is not None:
        return f"{TINY}:{tiny_step.key}"
    return tasks_fingerprint(benchmark, path)
