"""The section `select`: which tokens get a loss."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from codeblock.core.config.section import Section
from codeblock.core.shares import Shares

BudgetScope = Literal["response", "dataset", "response_carry"]
Share = Annotated[float, Field(gt=0, le=1)]


class SelectConfig(Section):
    """Which tokens get a loss. METHOD: stages 1 (rank and keep), 3 (utility) and 4 (structure, rerank, budget)."""

    token_budget: Share | None = None
    """Share of the pool's response tokens that is supervised. Empty: 0.019, or what follows from the next two."""
    inside_share: Share | None = None
    """Share that is supervised inside the kept pairs. Empty: 0.57, or what follows from the other two."""
    subset_ratio: Share | None = None
    """Share of the pool's pairs that is kept, best first (section `rank`). Empty: as many of the best as hold
    `token_budget / inside_share` of the pool's response tokens."""
    mixture: dict[str, Share] = Field(default_factory=dict)
    """A budget for each data set: its share of the kept pairs and of the supervised tokens, by the data set's name. Data sets
    that are not named have what is left together. Empty: what the ranking gives each."""
    scope: BudgetScope = "dataset"
    """Where the budget is spent: the same share in each response, one ranking of all, or with slack carried on."""
    gce_q: float = Field(0.7, ge=0, le=1)
    """Exponent of the generalized cross-entropy; 0 is cross-entropy."""
    aggregate: Literal["mean", "sum", "shrunk"] = "mean"
    """How an item's utility is made of the losses of its n core logic tokens: their mean, their sum, or the mean times
    n / (n + `shrink_tokens`), for a mean of few tokens is extreme."""
    shrink_tokens: float = Field(8.0, ge=0)
    """Core logic tokens at which `aggregate=shrunk` halves the mean."""
    noise_quantile: float | None = Field(None, gt=0, lt=1)
    """A core logic token whose nll lies above this quantile of the kept pairs' core tokens counts as 0: what no model can
    guess (arbitrary names, faults) is no lesson. Empty: off."""
    reach_weight: float = Field(0.25, ge=0)
    """Weight of data-flow reach in the rerank."""
    bridge_weight: float = Field(0.25, ge=0)
    """Weight of data-flow bridge in the rerank."""
    gate: Literal["hard", "product", "none"] = "hard"
    """Which items structure may lift: those of at least the median utility of their response (`hard`), each in proportion to
    its utility, so that what the model has mastered stays where it is (`product`), or all."""
    shrink_items: float = Field(0.0, ge=0)
    """Reach and bridge of a response with n items count (n - 1) / (n - 1 + this): they are extreme where n is small."""
    def_use_chains: bool = False
    """An item brings the items that define what it uses: they rank just before it, within the budget."""
    word_rank: Literal["gce", "specific"] = "gce"
    """Natural-language words by their mean GCE, or by that times how few of the kept pairs have the word, openers left out."""
    normalise: Literal["none", "minmax", "rank"] = "none"
    """Normalisation of utility, reach and bridge inside a response; none: utilities of different responses stay comparable."""
    nl_share: float = Field(0.1, ge=0, le=1)
    """Share of the budget for informative natural-language words."""
    attention_share: float = Field(0.5, ge=0, le=1)
    """Weight of the attention to the prompt in the strategy `sstoken`."""
    supervise_eos: bool = True
    """Supervise the stop token of every pair with a supervised token; it counts in the budget."""
    rank_stop: bool = False
    """Rank the stop token like any other, as a unit of its own, where the strategy has a budget; else each pair has it."""
    background_weight: float = Field(0.0, ge=0, le=1)
    """Weight of the response tokens that were not selected."""

    @model_validator(mode="after")
    def _shares_agree(self) -> SelectConfig:
        _ = self.shares
        if "" in self.mixture:
            raise ValueError("mixture: a data set without a name; name it, or leave it out: the others share what is left")
        if sum(self.mixture.values()) > 1 + 1e-9:
            raise ValueError(f"mixture: the shares add up to {sum(self.mixture.values()):g}; they are shares of one budget")
        return self

    @property
    def shares(self) -> Shares:
        """The three shares, those that follow included."""
        shares = Shares.of(self.token_budget, self.inside_share, self.subset_ratio)
        return replace(shares, mixture=tuple(sorted(self.mixture.items())))
