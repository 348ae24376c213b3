"""Jobs on a running cluster, through Ray's own `JobSubmissionClient`: what is sent, how it is followed, how it ends."""
