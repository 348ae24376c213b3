"""Running model-written code: its isolation, and the processes that hold its answers against the tests."""
