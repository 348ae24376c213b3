"""Training: the loss on selected tokens, batches without wasted tokens, the loop, and its Ray Train driver."""
