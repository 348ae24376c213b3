"""The stage `filtered`: near duplicates, contamination, quality; and the long-tail score that ranks what is left."""
