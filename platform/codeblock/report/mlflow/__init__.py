"""MLflow: where the runs go, what is logged, how the UI is opened."""

import os

# MLflow reads this when it is imported, so it is set before any module of this package imports it.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
