"""The ``winnow`` command: one function a command, each one call into the rooms.

Owns words, exit statuses and where output goes: results to standard output, everything else to standard
error. 0 done; 1 something failed, nothing half-written; 2 the call or the experiment file is wrong; 3 done
in part. Heavy imports are inside the functions, so that ``--help`` does not wait for them.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.interruption import listen
from deploy.wording import compared_text, lines, report_text, scored_text, trained_text, tuned_text
from pipeline.errors import DeclarationError, WinnowError

app = typer.Typer(
    name="winnow",
    help="Signal from background: train, judge, register and apply classifiers on ROOT and CSV events.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

FAILED, WRONG_CALL, DONE_IN_PART, INTERRUPTED = 1, 2, 3, 130

# Said here as well as in pipeline.simulate, which imports too much for a help text; a test compares the two.
SIMULATIONS_HELP = (
    "Two classes: pion-muon, star-galaxy, gaussians, region, mass-bump, earthquake-explosion, shark-dolphin, "
    "sick-well, investment-risk, spam-genuine; images: blobs; lists: jets; "
    "four classes: particles; a quantity: showers, curve."
)
ExperimentPath = Annotated[Path, typer.Argument(metavar="EXPERIMENT", help="The experiment file (TOML).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
AsFlow = Annotated[bool, typer.Option("--as-flow", help="Run as a Prefect flow, also where no server is named.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Nothing on standard error but problems.")]


def _say_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        typer.echo(version("winnow"))
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Say which version this is.", callback=_say_version, is_eager=True)
]


@app.callback()
def set_up(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens to standard error.")] = False,
    version: Version = False,
) -> None:
    """Signal from background."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    for room in ("pipeline", "models", "flows", "deploy"):
        logging.getLogger(room).addHandler(handler)
        logging.getLogger(room).setLevel(logging.INFO if verbose else logging.WARNING)


@app.command()
def simulate(
    name: Annotated[str, typer.Argument(help=SIMULATIONS_HELP)],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; made where it is not there.")],
    events: Annotated[int, typer.Option(help="Number of labelled events; a fifth as many new ones come with them.")],
    seed: Annotated[int | None, typer.Option(help="Another seed gives other events.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="KEY=VALUE of the simulation; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write events whose right answers are known, and an experiment file that uses them."""
    from pipeline.simulate import DEFAULT_SEED, simulate

    sample = simulate(name, folder, events, DEFAULT_SEED if seed is None else seed, **_options(option or []))
    record = {
        "experiment": str(sample.experiment),
        "training_files": [str(path) for path in sample.training_files],
        "new_files": [str(path) for path in sample.new_files],
    }
    _say(record, as_json, lines("experiment", "training_files", "new_files"))


@app.command()
def check(experiment: ExperimentPath, as_json: AsJson = False) -> None:
    """Find every problem of an experiment file and of its data before anything is trained."""
    from deploy.progress_bars import progress_bars
    from flows.experiment import load_experiment
    from models.build import head_of
    from pipeline.rehearsal import rehearse

    file = load_experiment(experiment)
    with progress_bars() as progress:
        rehearsal = rehearse(file.content, file.folder, progress, head_of(file.content.model).target_problems)
    _say(rehearsal.to_json(), as_json, lambda _: rehearsal.to_text())
    if rehearsal.problems:
        raise typer.Exit(WRONG_CALL)


@app.command()
def train(experiment: ExperimentPath, as_json: AsJson = False, as_flow: AsFlow = False, quiet: Quiet = False) -> None:
    """Prepare, train, evaluate, bundle, register, and promote if better."""
    from flows.experiment import load_experiment

    file = load_experiment(experiment)
    _say_how(as_flow, quiet)
    from deploy.progress_bars import progress_bars

    with _quiet_tensorflow(), progress_bars(not quiet) as progress:
        if _through_prefect(as_flow):
            from flows.orchestrate import train_with_prefect

            record = train_with_prefect(file.path, progress)
        else:
            from flows.train import train_experiment

            record = train_experiment(file, progress=progress).to_json()
    _say(record, as_json, trained_text)


@app.command()
def compare(
    experiments: Annotated[list[Path], typer.Argument(metavar="EXPERIMENT…", help="Experiment files (TOML).")],
    seeds: Annotated[int, typer.Option(min=1, help="Train each network from so many seeds.")] = 1,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the page and its numbers.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train several experiments on the same split and rank them, with the errors of their differences."""
    from flows.experiment import load_experiment

    files = [load_experiment(path) for path in experiments]
    from deploy.progress_bars import progress_bars

    with _quiet_tensorflow(), progress_bars(not quiet) as progress:
        from flows.compare import compare_experiments

        record = compare_experiments(files, seeds, out and out.absolute(), progress).to_json()
    _say(record, as_json, compared_text)
    if record["failures"]:
        raise typer.Exit(DONE_IN_PART)


@app.command()
def tune(
    experiment: ExperimentPath,
    trials: Annotated[int | None, typer.Option(min=1, help="In all, instead of the file's number.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="Begin no trial after this.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the tuned experiment file.")] = Path(),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Search for settings with a lower validation loss, as [tune] says; a search that was ended goes on."""
    from flows.experiment import load_experiment

    file = load_experiment(experiment)
    from deploy.progress_bars import progress_bars

    with _quiet_tensorflow(), progress_bars(not quiet) as progress:
        from flows.tune import tune_experiment

        record = tune_experiment(file, trials, timeout, out.absolute(), progress).to_json()
    _say(record, as_json, tuned_text)


@app.command()
def score(
    model: Annotated[str, typer.Argument(help="NAME, NAME@ALIAS, NAME/VERSION or a bundle folder.")],
    files: Annotated[list[str], typer.Argument(help="ROOT, CSV or Parquet files, or globs.")],
    out: Annotated[Path, typer.Option(help="Folder of the scored files.")],
    tree: Annotated[str | None, typer.Option(help="TTree or RNTuple, where it is not the training files'.")] = None,
    columns: Annotated[str | None, typer.Option(help="Names of a CSV without header, separated by commas.")] = None,
    separator: Annotated[str | None, typer.Option(help="Separator of a CSV.")] = None,
    score_column: Annotated[
        str, typer.Option(help="Name of the added column, or what the names of several begin with.")
    ] = "score",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that Winnow has not written.")] = False,
    as_json: AsJson = False,
    as_flow: AsFlow = False,
    quiet: Quiet = False,
) -> None:
    """Add the score to every event of files, each in its own format; nothing is lost and nothing half-written."""
    from flows.score import ScoreOptions
    from pipeline.sources import expand_files

    paths = list(expand_files(files, Path.cwd()))
    options = ScoreOptions(_layout(tree, columns, separator), score_column, overwrite)
    _say_how(as_flow, quiet)
    from deploy.progress_bars import progress_bars

    with progress_bars(not quiet) as progress:
        record = _score(model, paths, out, options, _through_prefect(as_flow), progress)
    _say(record, as_json, scored_text)
    if record["quarantined"]:
        raise typer.Exit(DONE_IN_PART if record["files"] else FAILED)


def _score(model: str, paths: list[Path], out: Path, options: Any, through_prefect: bool, progress: Any) -> Any:
    if through_prefect:
        from flows.orchestrate import score_with_prefect

        return score_with_prefect(model, paths, out, options, progress)
    from flows.reference import resolve
    from flows.score import score_files

    return score_files(resolve(model), paths, out, options, progress=progress).to_json()


@app.command()
def promote(
    model: Annotated[str, typer.Argument(help="NAME/VERSION.")],
    as_json: AsJson = False,
) -> None:
    """Make a version champion by hand, for instance to go back to the one before."""
    if "/" not in model:
        raise DeclarationError(f"received {model!r}; which version? write {model}/3, for instance")
    from flows.tracking.registry import promote_by_hand

    _say(promote_by_hand(model), as_json, lines("model", "champion", "previous"))


@app.command()
def report(
    model: Annotated[str, typer.Argument(help="NAME, NAME@ALIAS, NAME/VERSION, a bundle folder or a run's folder.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a copy, if no other file is there.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Let the copy replace another file.")] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only say where it is, as --json does.")] = False,
    as_json: AsJson = False,
) -> None:
    """Open the report of a trained model in the browser."""
    from flows.reports import copy_report, find_report

    found = find_report(model)
    copy = {} if out is None else {"copy": str(copy_report(found.report, out.absolute(), overwrite))}
    _say({**found.to_json(), **copy}, as_json, report_text)
    if not (as_json or no_browser or _is_opened(found.report)):
        typer.echo(f"no browser could be opened (set BROWSER to one); open {found.report} yourself", err=True)


def _is_opened(page: Path) -> bool:
    import webbrowser

    # Without a screen, a text browser would take over the terminal and show none of the pictures.
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    has_screen = sys.platform == "darwin" or any(os.environ.get(name) for name in screens)
    return has_screen and webbrowser.open(page.as_uri())


@app.command()
def serve(
    model: Annotated[str, typer.Argument(help="NAME, NAME@ALIAS, NAME/VERSION or a bundle folder.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    poll: Annotated[float, typer.Option(help="Seconds between looks at the registry.")] = 5.0,
) -> None:
    """Answer scores over HTTP, with the champion of the moment."""
    from deploy.service import serve

    serve(model, host, port, poll)


@app.command()
def schedule(experiments: Annotated[list[Path], typer.Argument(metavar="EXPERIMENT…")]) -> None:
    """Run what the [schedule] sections say, until interrupted; needs a Prefect server."""
    from flows.experiment import load_experiment

    files = [load_experiment(path) for path in experiments]
    from flows.orchestrate import serve_schedules

    serve_schedules(files)


@app.command()
def up(
    experiments: Annotated[list[Path] | None, typer.Argument(metavar="[EXPERIMENT…]")] = None,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow.")] = 5000,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect.")] = 4200,
    service_port: Annotated[int, typer.Option(help="Port of the first experiment's scoring service.")] = 8000,
) -> None:
    """Start MLflow, Prefect, the schedules and the scoring services on this machine, until interrupted."""
    from deploy.stack import run_stack
    from flows.experiment import load_experiment

    files = [load_experiment(path) for path in experiments or []]
    run_stack(files, mlflow_port, prefect_port, service_port)


def _options(pairs: list[str]) -> dict[str, object]:
    """Read ``KEY=VALUE`` texts; a value is TOML (a number, true, false), or else a text."""
    import tomllib

    chosen: dict[str, object] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            raise DeclarationError(f"--option {pair!r} is not KEY=VALUE")
        try:
            chosen[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            chosen[key] = value
    return chosen


def _layout(tree: str | None, columns: str | None, separator: str | None) -> Any:
    from pipeline.layout import Layout

    if tree is None and columns is None and separator is None:
        return None
    names = tuple(name.strip() for name in columns.split(",")) if columns else None
    return Layout(tree, names, "," if separator is None else separator)


def _through_prefect(as_flow: bool) -> bool:
    return as_flow or bool(os.environ.get("PREFECT_API_URL"))


def _say_how(as_flow: bool, quiet: bool) -> None:
    server = os.environ.get("PREFECT_API_URL")
    if quiet:
        return
    if server:
        typer.echo(f"running as a Prefect flow on {server}", err=True)
    elif as_flow:
        typer.echo("running as a Prefect flow on a temporary server (PREFECT_API_URL names none)", err=True)
    else:
        typer.echo("running directly, without Prefect (set PREFECT_API_URL or give --as-flow for a flow)", err=True)


def _say(record: Any, as_json: bool, as_text: Callable[[Any], str]) -> None:
    typer.echo(json.dumps(record, indent=1) if as_json else as_text(record))


@contextmanager
def _quiet_tensorflow() -> Iterator[None]:
    """Import TensorFlow without the lines that it writes past every logger; its errors are exceptions.

    Keras imports it as soon as it is installed, whatever it computes with.

    Raises:
        DeclarationError: KERAS_BACKEND names a backend that is not installed or not known.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
        except (ImportError, ValueError) as error:
            asked = f"KERAS_BACKEND={os.environ.get('KERAS_BACKEND', '')}"
            raise DeclarationError(f"{asked}: {error}; tensorflow comes with Winnow, jax with winnow[jax]") from None
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    yield


def main() -> None:
    """Run the command; every refusal is one message on standard error and an exit status."""
    listen()
    try:
        app(prog_name="winnow")
    except DeclarationError as error:
        _fail(error, WRONG_CALL)
    except WinnowError as error:
        _fail(error, FAILED)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else error, FAILED)
    except (KeyboardInterrupt, SystemExit) as end:
        # The command-line library turns Ctrl-C into this exit status, without a word.
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:
            raise
        again = "a training or search goes on when it is started again"
        _fail(f"interrupted; nothing half-written is left, and {again}", INTERRUPTED)


def _fail(error: object, status: int) -> None:
    typer.echo(f"winnow: {error}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
