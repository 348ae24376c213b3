"""What a person looks at: the table of arms, plots, a page per sample."""
