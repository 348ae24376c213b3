"""The steps of one arm: rounds of selecting and training, and the evaluations.

Nearly every strategy has one round. `self_evolving` has several, each on its own share of the pairs: a round ranks by the
model of the round before, and goes on training it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from codeblock.core.config import TINY, Config, SelectConfig, TrainConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.models.ref import ModelRef
from codeblock.core.shares import Shares
from codeblock.data.read.files import sources_of
from codeblock.experiment.cache import Product, Step
from codeblock.experiment.versions import source_digest
from codeblock.selection import get_strategy
from codeblock.selection.strategies import Strategy, shares_of

if TYPE_CHECKING:
    from codeblock.experiment.plan import Plan


@dataclass(frozen=True)
class Model:
    """A model by where it lies and what it is; one that a step of the run writes has its place below the step's directory."""

    place: str
    revision: str | None
    fingerprint: str | Product
    adapters: bool = False
    """Whether it is low-rank adapters, which peft puts on another model."""

    @classmethod
    def trained_by(cls, step: Step) -> Model:
        """The model that a step trains and writes."""
        return cls("model", None, Product(step, "model/*"), step.decided_by.get("mode") == "lora")

    @property
    def made_here(self) -> bool:
        """Whether a step of the run writes it."""
        return isinstance(self.fingerprint, Product) or self.fingerprint.startswith(f"{TINY}:")

    @property
    def path(self) -> str:
        """Directory or hub name; of a model that is written here, known once the step before its own has run."""
        return str(self.fingerprint.step.directory / self.place) if isinstance(self.fingerprint, Product) else self.place

    @property
    def ref(self) -> ModelRef:
        """What a stage is given of it, once it is there."""
        return ModelRef(self.path, self.revision)


@dataclass(frozen=True)
class ExtraColumn:
    """A column that a second model adds to the scores."""

    step: Step
    model: Model


@dataclass(frozen=True)
class Round:
    """Select and train once."""

    extra: dict[str, ExtraColumn]
    """What the strategy needs beside the reference's scores, by column."""
    selected: Step
    trained: Step
    start: Model
    """The model that is trained."""
    train: TrainConfig
    share: tuple[int, int]
    """The round trains on the pairs of this share: its number, of how many."""


@dataclass(frozen=True)
class ArmPlan:
    """The steps of one arm with one seed; the untrained arm has no rounds."""

    arm: str
    """Its name in the config."""
    seed: int
    """Of its selection, training and sampling."""
    name: str
    """What it is called: the arm, with its seed where there are several."""
    strategy: str | None
    settings: SelectConfig
    rounds: list[Round]
    generated: dict[str, Step]
    """Its answers, by benchmark; empty where it is not asked for any."""
    graded: dict[str, Step]
    """The verdicts on them."""
    reference_nll: dict[str, Step] = field(default_factory=dict)
    """By benchmark; empty where the config does not ask for it."""

    @property
    def selected(self) -> Step | None:
        """The selection of the last round."""
        return self.rounds[-1].selected if self.rounds else None

    @property
    def trained(self) -> Step | None:
        """The fit of the last round."""
        return self.rounds[-1].trained if self.rounds else None

    def steps(self) -> list[Step]:
        """All steps in order."""
        steps: list[Step] = []
        for each in self.rounds:
            steps += [*(column.step for column in each.extra.values()), each.selected, each.trained]
        for name, answers in self.generated.items():
            steps += [answers, self.graded[name]]
        return [*steps, *self.reference_nll.values()]


def arm_name(config: Config, arm: str, seed: int) -> str:
    """What an arm with a seed is called."""
    return f"{arm} seed {seed}" if len(config.seeds_of(arm)) > 1 else arm


def selecting_arm(arms: Sequence[ArmPlan], name: str) -> ArmPlan:
    """The arm with a selection that `name` says: "codeblock seed 1", or "codeblock", which is its first seed.

    Raises CodeBlockError, with the names that there are, where it says none.
    """
    selecting = [arm for arm in arms if arm.rounds]
    for arm in selecting:
        if name in (arm.name, f"{arm.arm} seed {arm.seed}"):
            return arm
    for arm in selecting:
        if name == arm.arm:
            return arm
    seeds: dict[str, list[str]] = {}
    for arm in selecting:
        seeds.setdefault(arm.arm, []).append(f"{arm.seed}")
    there = (f"{arm} (seed {', '.join(each)})" if len(each) > 1 else arm for arm, each in seeds.items())
    raise CodeBlockError(f"arm {name!r}: not one that selects tokens; there are {', '.join(there) or 'none'}")


def plan_rounds(
    plan: Plan,
    arm: str,
    seed: int,
    step: Callable[..., Step],
    score: Callable[[str, Model, str], Step],
) -> list[Round]:
    """The rounds of an arm.

    `step` makes a step of a stage, a label and an identity, `score` one that scores the kept pairs, of a label, a model and a
    column.

    Raises CodeBlockError where the strategy is not known or needs a second model that there is not, and where the mixture names
    a data set that there is not.
    """
    config = plan.config
    strategy = config.arms[arm].strategy
    if strategy is None:
        return []
    rule = get_strategy(strategy)
    _check_mixture(config, arm)
    if rule.rounds > 1 and config.train.mode == "lora":
        raise CodeBlockError(f"arms.{arm}: {strategy} goes on training its model, which train.mode=lora cannot; use full")
    second = _second_model(plan, arm, seed) if rule.needs else None
    train, name = _train_of_a_round(config.train, rule.rounds), arm_name(config, arm, seed)
    decided_by = _selection_decided_by(config, arm, seed, rule)
    rounds: list[Round] = []
    start = plan.model
    for number in range(rule.rounds):
        label = name if rule.rounds == 1 else f"{name} {number + 1}/{rule.rounds}"
        extra: dict[str, ExtraColumn] = {}
        for column in sorted(rule.needs):
            assert second is not None
            extra[column] = ExtraColumn(score(f"score[{column}, {label}]", second, column), second)
        selected = step(
            "selected",
            f"select[{label}]",
            kept=Product(plan.kept),
            scored=Product(plan.scored),
            **decided_by,
            **{column: Product(needed.step) for column, needed in extra.items()},
            **({"share": [number, rule.rounds]} if rule.rounds > 1 else {}),
        )
        trained = step(
            "trained",
            f"train[{label}]",
            selected=Product(selected),
            model=start.fingerprint,
            seed=seed,
            **train.identity(),
        )
        rounds.append(Round(extra, selected, trained, start, train, (number, rule.rounds)))
        start = second = Model.trained_by(trained)
    return rounds


def _check_mixture(config: Config, arm: str) -> None:
    there = [str(source.name) for source in sources_of(config.pairs)]
    if absent := [name for name in config.settings_of(arm).mixture if name not in there]:
        raise CodeBlockError(f"select.mixture (arm {arm}): there is no data set {absent[0]!r}; there are {', '.join(there)}")


def _selection_decided_by(config: Config, arm: str, seed: int, rule: Strategy) -> dict[str, Any]:
    """What decides the selection of each round of an arm, besides the pairs and their scores."""
    settings, strategy = config.settings_of(arm), config.arms[arm].strategy
    fields = sorted({"supervise_eos", "background_weight", *rule.uses})
    return {
        "strategy": strategy,
        "split_seed": config.seed,
        "dev_pairs": config.train.dev_pairs,
        "dev_among": _dev_among(config.select.shares, settings.shares, rule) if config.train.dev_pairs else None,
        "shares": _asked(shares_of(rule, settings), rule),
        **({"seed": seed} if rule.seeded else {}),
        **({"source": source_digest(strategy.partition(":")[0])} if strategy and ":" in strategy else {}),
        **{field: getattr(settings, field) for field in fields},
    }


def _train_of_a_round(train: TrainConfig, rounds: int) -> TrainConfig:
    """The recipe with its steps divided among the rounds; epochs are passes over a round's own pairs already."""
    if rounds == 1 or train.steps is None:
        return train
    return train.model_copy(update={"steps": -(-train.steps // rounds)})


def _asked(shares: Shares, rule: Strategy) -> dict[str, Any]:
    """What of the shares decides a selection; without a budget only which pairs are kept."""
    kept = _kept(shares)
    if shares.nearest and not rule.whole_pairs:  # of whole pairs it goes without saying
        kept["inside_share"] = shares.inside_share
    if shares.mixture:
        kept["mixture"] = dict(shares.mixture)
    return {**kept, **({"token_budget": shares.token_budget} if rule.budgeted else {})}


def _dev_among(held_out: Shares, own: Shares, rule: Strategy) -> float | dict[str, Any]:
    """Among which share of the pool the held-out pairs are drawn; of what, where that is not what the arm's own share is of."""
    told = (False, False) if rule.whole_pairs else (own.of_pairs, own.nearest)
    if (held_out.of_pairs, held_out.nearest) == told and not held_out.mixture:
        return held_out.subset_ratio
    mixture = {"mixture": dict(held_out.mixture)} if held_out.mixture else {}
    return {**_kept(held_out), **({"inside_share": 1.0} if held_out.nearest else {}), **mixture}


def _kept(shares: Shares) -> dict[str, Any]:
    return {"subset_pairs" if shares.of_pairs else "subset_tokens": shares.subset_ratio}


def _second_model(plan: Plan, arm: str, seed: int) -> Model:
    """The model of `score.second_model`: one of its own, or the one that an earlier arm trains with the same seed."""
    path = plan.config.score.second_model
    if path is None:
        raise CodeBlockError(f"arms.{arm}: its strategy compares two models; set score.second_model (a path, or arm:NAME)")
    if not path.startswith("arm:"):
        return plan.inputs.model(path)
    trained = {each.arm: each.trained for each in plan.arms if each.trained is not None and each.seed == seed}
    step = trained.get(path.removeprefix("arm:"))
    if step is None:
        there = ", ".join(trained) or "none"
        raise CodeBlockError(f"score.second_model={path}: no arm of that name is trained before {arm}; there are: {there}")
    return Model.trained_by(step)
