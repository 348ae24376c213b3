"""Conversations to tokens, through a model's own chat template."""
