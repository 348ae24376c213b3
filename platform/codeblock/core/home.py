"""`~` in paths that no shell has seen."""

from pathlib import Path


def expand_home(path: str) -> str:
    """A path whose `~` is the home directory, as a shell would have it; one that names no user's home stays as it is."""
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        return path
