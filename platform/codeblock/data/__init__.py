"""Which pairs: read, filter, rank."""
