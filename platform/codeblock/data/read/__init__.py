"""Instruction-response pairs: find the files, read rows, bring them into one shape, drop exact duplicates."""
