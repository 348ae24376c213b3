"""The stage `ranked`: which pairs are worth their tokens, best first. METHOD: stage 1, rank and keep."""
