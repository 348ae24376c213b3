"""Embeds pairs for the stage `ranked` where a model does it; words need neither a model nor a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codeblock.core.config import ClusterConfig, RankConfig, ScoreConfig
from codeblock.core.models.ref import ModelRef
from codeblock.data.rank import rankers  # noqa: F401  registers them
from codeblock.data.rank.registry import Tool, needs_of, tools_of


def needs_model(config: RankConfig) -> bool:
    """Whether the ranking reads embeddings by a model. Raises CodeBlockError for a ranker that is not known."""
    return "embedding" in needs_of(config.by) and config.embedding != "words"


def needs_scores(config: RankConfig) -> bool:
    """Whether the whole pool has to be scored before it is ranked. Raises CodeBlockError for a ranker that is not known."""
    return "nll" in needs_of(config.by)


def tools(config: RankConfig) -> frozenset[Tool]:
    """What the rankers work with. Raises CodeBlockError for a ranker that is not known."""
    return tools_of(config.by)


def embed_pairs(
    prepared: Path,
    output: Path,
    model: ModelRef,
    config: RankConfig,
    score: ScoreConfig,
    cluster: ClusterConfig,
) -> dict[str, Any]:
    """The embeddings that `rank.embedding` asks for, as parts of schema EMBEDDED; needs a Ray session."""
    from codeblock.data.rank.embed import LAYERS, embed  # brings torch

    return embed(prepared, output, model, score, cluster, LAYERS if config.embedding == "layers" else None)
