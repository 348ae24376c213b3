"""Reference scoring: one teacher-forced pass, the nll of every response token. Score once, select many."""
