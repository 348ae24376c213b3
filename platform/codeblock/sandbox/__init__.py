"""Running model-written code: the walls around it, and the processes that hold its answers against the tests."""
