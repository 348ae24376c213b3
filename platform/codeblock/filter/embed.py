"""Moved to `codeblock.rank.embed`."""

from codeblock.rank.embed import embed, mean_hidden

__all__ = ["embed", "mean_hidden"]
