"""Running model-written code: the isolation around it, and the processes that hold its answers against the tests."""
