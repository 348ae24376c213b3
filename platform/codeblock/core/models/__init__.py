"""Models: what is taken, what is refused, and logits at chosen positions."""
