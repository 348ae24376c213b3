"""Where runs are kept: a tracking server, or SQLite beside the caches."""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Experiment, LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import read_mlflow_creds
from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from codeblock.core.config import TrackConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.storage.places import is_remote, nearest, show
from codeblock.core.storage.tables import temporary_beside

FIRST_CONTACT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""A wrong address is told at once; patience is for servers that have answered before."""

LATER_CALLS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
"""About half a minute of retries where MLflow's default is four minutes. The user's own settings win."""

UNAUTHENTICATED, FORBIDDEN = 401, 403
LOCK_SECONDS = 10.0

TRAINING_VIEW = {"mlflow.experimentKind": "custom_model_development"}
"""The UI opens the experiment as a list of training runs, not as traces of a chat application."""


def tracking_uri(config: TrackConfig, storage: Path) -> str:
    """`track.uri`, else `MLFLOW_TRACKING_URI`, else SQLite in the storage, or in `runs` here where that is an object store."""
    home = storage if not is_remote(storage) else Path("runs")  # no database lives in an object store
    return config.uri or os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(home.resolve() / "mlflow.db")


def sqlite_uri(path: Path) -> str:
    """The URI of a SQLite file, whatever its name holds."""
    text = str(path)
    if not set(text) & set("%?"):
        return f"sqlite:///{text}"
    # Signs that would begin a query or be decoded are coded. With the name of the driver MLflow does not make a directory of
    # the coded name beside.
    return f"sqlite+pysqlite:///{text.replace('%', '%25').replace('?', '%3F')}"


def is_server(uri: str) -> bool:
    """Whether a server keeps the runs and decides where artifacts go; else this process opens a database."""
    return uri.startswith(("http://", "https://", "databricks"))


def artifact_root(storage: Path) -> str:
    """Directory or URL of the artifacts where no server keeps them."""
    return show(storage.resolve() / "mlartifacts")


def sqlite_path(uri: str) -> Path | None:
    """The database file of a SQLite URI; None for every other store."""
    if not uri.startswith(("sqlite:", "sqlite+")):
        return None
    database = make_url(uri).database
    return Path(database) if database and database != ":memory:" else None


def connect(config: TrackConfig, storage: Path) -> tuple[MlflowClient, str]:
    """A client and the id of the experiment, which is made where it does not exist.

    Raises CodeBlockError within seconds where the server does not answer or the place cannot be written.
    """
    uri = tracking_uri(config, storage)
    for key, value in LATER_CALLS.items():
        os.environ.setdefault(key, value)
    with clear_errors(uri), _environment(FIRST_CONTACT):
        path = sqlite_path(uri)
        if path is not None and path.exists():
            _check_writable(path)
        elif path is not None:
            _create_database(path)
        client = MlflowClient(tracking_uri=uri)
        return client, _experiment(client, config.experiment, None if is_server(uri) else artifact_root(storage))


def probe_tracking(config: TrackConfig, storage: Path) -> None:
    """`connect` for who only looks: it makes neither a database nor an experiment.

    Raises CodeBlockError as `connect`, and where the experiment of a server may not be written.
    """
    uri = tracking_uri(config, storage)
    with clear_errors(uri), _environment(FIRST_CONTACT):
        path = sqlite_path(uri)
        if path is not None and not path.exists():
            with tempfile.TemporaryFile(dir=nearest(path.absolute().parent)):
                return
        if path is not None:
            _check_writable(path)
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(config.experiment)
        if experiment is not None:
            _require_active(experiment)
            for key in TRAINING_VIEW.keys() & experiment.tags.keys():  # the same again, to be told whether that is allowed
                client.set_experiment_tag(experiment.experiment_id, key, experiment.tags[key])


@contextmanager
def clear_errors(uri: str) -> Iterator[None]:
    """Turn a failure of the store into one line that names it and what to set."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
        told = _refused(error) if isinstance(error, MlflowException) else ""
        raise CodeBlockError(f"MLflow at {without_password(uri)}: {told or _failed(error, uri)}") from error


def _failed(error: Exception, uri: str) -> str:
    """What a failure says of itself, and the remedy."""
    reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
    if "Max retries exceeded" in reason:  # the rest are names of classes
        reason = "no answer"
    remedy = "check track.uri or MLFLOW_TRACKING_URI"
    if is_server(uri):
        remedy += ", that `mlflow server` runs there, and MLFLOW_TRACKING_TOKEN where it asks for one"
    else:
        remedy += ", or set storage to a directory that can be written"
    return f"{reason}; {remedy}"


def _refused(error: MlflowException) -> str:
    """Why a server that asks for a login does not let this process in or write, and the remedy; empty for all else."""
    status, user = error.get_http_status_code(), read_mlflow_creds().username
    if status == UNAUTHENTICATED:
        remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        if user or "MLFLOW_TRACKING_TOKEN" in os.environ:
            return f"does not take {f'the login of user {user!r}' if user else 'MLFLOW_TRACKING_TOKEN'}; {remedy}"
        return f"asks for a login; {remedy}"
    if status == FORBIDDEN:
        who = f"user {user!r}" if user else "this login"
        return f"{who} may not write the experiment; have it granted EDIT there, or set track.experiment to one of its own"
    return ""


def without_password(uri: str) -> str:
    """The URI as it may be printed."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, _as_uri(artifacts) if artifacts else None, TRAINING_VIEW))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another process was faster
    _require_active(found)
    return str(found.experiment_id)


def _require_active(experiment: Experiment) -> None:
    if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
        raise CodeBlockError(f"MLflow experiment {experiment.name!r}: deleted; restore it in the UI or set track.experiment")


def _as_uri(place: str) -> str:
    return place if "://" in place else Path(place).as_uri()


def _check_writable(path: Path) -> None:
    """MLflow retries a database that it cannot open for a minute and a half, so a write is tried first, and taken back."""
    connection = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE codeblock_probe (x)")  # the lock alone succeeds on a read-only file
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _create_database(path: Path) -> None:
    """Make MLflow's tables in a file beside the place and give it its name, so that no run finds a half-made database.

    Of two runs that make one at the same time the first one's counts: it may hold runs already.

    MLflow replays some 70 migrations, each with its own flush to disk; a file that nobody reads yet needs none of them
    (3 s where it took 18 s on a slow disk).
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    temporary.touch()  # fails at once where the directory is read-only
    try:
        with _quiet_migrations(), _without_flushes():
            SqlAlchemyStore(sqlite_uri(temporary), str(path.parent)).engine.dispose()
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            if not path.exists():
                temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _without_flushes() -> Iterator[None]:
    def set_pragma(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", set_pragma)
    try:
        yield
    finally:
        event.remove(Engine, "connect", set_pragma)


@contextmanager
def _quiet_migrations() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow.store.db.utils")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
