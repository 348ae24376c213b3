"""Ranking the pool: which pairs are worth paying for, before they are scored."""
