"""Switches of libraries that the platform sets in its environment before they are imported. Imports none of them."""

import os

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "RAY_TRAIN_V2_ENABLED": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # Threads that spin at a barrier slow a step down tenfold where another process holds a core.
    "OMP_WAIT_POLICY": "passive",
}
"""Set unless the user has set them: no reports home, no line for each run that MLflow closes, no threads that spin."""


def quiet_environment() -> None:
    """Apply QUIET to this process; threads take it up only where torch has not been imported yet."""
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
