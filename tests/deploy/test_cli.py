import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import pytest

from deploy.cli import main
from flows.tracking.server import connect

ROOMS = ("pipeline", "models", "flows", "deploy")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Winnow(Protocol):
    def __call__(self, *arguments: object) -> Ended: ...


@pytest.fixture
def winnow(monkeypatch, capfd) -> Iterator[Winnow]:
    """``winnow("score", …)``: the command in this process, from its arguments to its exit status."""
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments: object) -> Ended:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["winnow", *map(str, arguments)])
        with pytest.raises(SystemExit, match=r"^\d$") as ended:
            main()
        out, err = capfd.readouterr()
        return Ended(int(ended.value.code), out, err)

    yield run
    signal.signal(signal.SIGTERM, handler)
    for room in ROOMS:
        logging.getLogger(room).handlers.clear()
        logging.getLogger(room).setLevel(logging.NOTSET)


def modules_after(*arguments: str) -> tuple[str, set[str]]:
    """What a command printed, and the modules that it had imported in the end."""
    program = (
        "import sys, atexit, deploy.cli\n"
        "atexit.register(lambda: print(' '.join(sys.modules), file=sys.stderr))\n"
        f"sys.argv = {['winnow', *arguments]!r}\n"
        "deploy.cli.main()"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return ended.stdout, set(ended.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["compare", "--help"],
        ["tune", "--help"],
        ["score", "--help"],
        ["report", "--help"],
    ],
)
def test_help_imports_nothing_heavy(arguments):
    out, modules = modules_after(*arguments)
    assert "Usage: winnow" in out
    assert not modules & {"keras", "tensorflow", "mlflow", "prefect", "pandas", "numpy", "uproot", "fastapi"}


def test_help_names_every_command(winnow):
    names = {line.split()[0] for line in winnow("--help").out.partition("Commands:")[2].splitlines() if line.strip()}
    assert {
        "simulate",
        "check",
        "train",
        "compare",
        "tune",
        "score",
        "promote",
        "report",
        "serve",
        "schedule",
        "up",
    } <= names


def test_the_help_of_simulate_names_every_simulation():
    from deploy.cli import SIMULATIONS_HELP
    from pipeline.simulate import SIMULATIONS

    named = [name for group in SIMULATIONS_HELP.rstrip(".").split(";") for name in group.split(": ")[1].split(", ")]
    assert sorted(named) == sorted(SIMULATIONS)


def test_scoring_with_a_bundle_imports_no_network_library(trained, tmp_path):
    bundle, out = str(trained.outcome.bundle), str(tmp_path / "scored")
    printed, modules = modules_after("score", bundle, str(trained.new_events), "--out", out, "--json")
    assert json.loads(printed)["events_out"] == 600
    assert not modules & {"keras", "tensorflow", "mlflow", "prefect", "fastapi"}


def test_a_simulated_experiment_passes_its_check(winnow, monkeypatch, tmp_path):
    monkeypatch.setenv("WINNOW_HOME", str(tmp_path / "home"))
    sample = winnow("simulate", "gaussians", tmp_path, "--events", 500, "--option", "dimensions=2", "--json")
    assert (sample.status, sample.json.keys()) == (0, {"experiment", "training_files", "new_files"})
    experiment = sample.json["experiment"]
    checked = winnow("check", experiment, "--json")
    assert checked.status == 0, checked
    assert isinstance(checked.json, dict)


RECORD = {
    "model", "version", "promoted", "run_id", "bundle", "report", "auc", "auc_error", "events", "training",
    "test_classes",
}  # fmt: skip
EVENTS = {"read", "kept", "cut", "left_out", "train", "validation", "test"}
TRAINING = {
    *("folds", "epochs", "seconds", "events_per_second", "device", "backend"),
    *("compiled", "compile_seconds", "resumed_after"),
}


def test_train_prints_one_json_object_and_nothing_else(winnow, trained_copy):
    ended = winnow("train", trained_copy.file.path, "--json")
    assert ended.status == 0, ended
    assert ended.json.keys() >= RECORD
    assert (ended.json["events"].keys(), ended.json["training"].keys()) == (EVENTS, TRAINING)
    assert (ended.json["version"], ended.json["promoted"]) == ("4", False)
    assert ended.json["auc"] == trained_copy.outcome.evaluation.auc.value
    assert "running directly, without Prefect" in ended.err


def test_compare_ranks_networks_without_registering_any_and_says_which_one_failed(winnow, trained_copy):
    hopeless = trained_copy.file.path.with_name("hopeless.toml")
    hopeless.write_text(trained_copy.file.text.replace("learning_rate = 1e-3", "learning_rate = 1e30"))
    ended = winnow("compare", trained_copy.file.path, hopeless, "--out", "compared", "--json")
    assert ended.status == 3, ended
    [line] = ended.json["board"]
    assert (line["name"], line["value"]["value"]) == ("gaussians", trained_copy.outcome.evaluation.auc.value)
    assert ended.json["failures"].keys() == {f"hopeless seed {trained_copy.file.content.experiment.seed}"}
    assert {path.name for path in Path("compared").iterdir()} == {"comparison.html", "comparison.json"}
    assert {v.version for v in connect().search_model_versions("name = 'gaussians'")} == {1, 2, 3}


def test_tune_writes_the_experiment_with_the_best_values_and_registers_nothing(winnow, trained_copy, tmp_path):
    searched = trained_copy.file.path.with_name("searched.toml")
    searched.write_text(trained_copy.file.text + '[tune.search]\n"model.options.dropout" = { low = 0.0, high = 0.5 }\n')
    ended = winnow("tune", searched, "--trials", "1", "--json")
    assert (ended.status, ended.json["written"]) == (0, str(tmp_path / "searched-tuned.toml")), ended
    history = trained_copy.outcome.trainings[0].history
    assert ended.json["declared"] == ended.json["best"]["loss"] == min(epoch["validation_loss"] for epoch in history)
    assert (ended.json["counts"]["complete"], ended.json["improvement"]) == (1, 0.0)
    assert {v.version for v in connect().search_model_versions("name = 'gaussians'")} == {1, 2, 3}


def test_score_prints_one_json_object_and_nothing_else(winnow, trained, tmp_path):
    ended = winnow("score", "gaussians", trained.new_events, "--out", tmp_path / "scored", "--json")
    assert ended.status == 0, ended
    keys = {"files", "events_in", "events_out", "quarantined", "seconds", "model", "version"}
    assert keys <= ended.json.keys()
    assert (ended.json["model"], ended.json["version"], ended.json["events_out"]) == ("gaussians", "2", 600)
    assert ended.err.splitlines() == [
        "running directly, without Prefect (set PREFECT_API_URL or give --as-flow for a flow)"
    ]


def test_score_says_in_words_what_was_done(winnow, trained, tmp_path):
    arguments = ("score", trained.outcome.bundle, trained.new_events, "--out", tmp_path / "scored", "--quiet")
    first, second = winnow(*arguments), winnow(*arguments)
    assert first.out.splitlines()[0] == f"{tmp_path}/scored/new_gaussians.csv"
    assert first.out.splitlines()[1].startswith("600 events in, 600 out, by gaussians version bundle ")
    assert second.out.splitlines()[0] == f"{tmp_path}/scored/new_gaussians.csv (scored before)"


def test_options_of_score_say_how_a_file_is_read(winnow, trained, tmp_path):
    frame = pd.read_csv(trained.new_events)
    frame.to_csv(tmp_path / "bare.csv", index=False, header=False, sep=";")
    how = ("--columns", ", ".join(frame), "--separator", ";", "--score-column", "p")
    ended = winnow("score", trained.outcome.bundle, "bare.csv", "--out", "scored", *how, "--json")
    assert (ended.status, ended.json["events_out"]) == (0, 600)


def test_files_at_fault_are_named_and_the_others_scored(winnow, trained, tmp_path):
    (tmp_path / "empty.csv").touch()
    some = winnow("score", "gaussians", "empty.csv", trained.new_events, "--out", "scored")
    assert some.status == 3
    assert some.out.splitlines()[-1] == f"quarantined: {tmp_path}/empty.csv is empty (0 bytes)"
    none = winnow("score", "gaussians", "empty.csv", "--out", "scored", "--json")
    assert (none.status, none.json["files"]) == (1, [])
    assert none.json["quarantined"][0]["error"] == f"{tmp_path}/empty.csv is empty (0 bytes)"


def test_promote_goes_back(winnow, trained_copy):
    ended = winnow("promote", "gaussians/1", "--json")
    assert (ended.status, ended.json) == (0, {"model": "gaussians", "champion": "1", "previous": "2"})
    assert connect().get_registered_model("gaussians").aliases["champion"] == 1


def test_report_says_in_words_what_it_shows(winnow, trained_copy):
    ended = winnow("report", "gaussians/1", "--no-browser")
    first = trained_copy.outcomes[0]
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "model           gaussians version 1",
        f"report          {trained_copy.home}/reports/{first.run_id}/report.html",
        f"MLflow run      {first.run_id}",
    ]


def test_report_prints_one_json_object_and_nothing_else(winnow, trained):
    ended = winnow("report", trained.outcome.report.parent, "--json")
    assert (ended.status, ended.err) == (0, "")
    assert ended.json == {
        "model": "gaussians",
        "version": f"bundle {trained.reference.bundle.digest[:12]}",
        "report": str(trained.outcome.report),
        "run_id": trained.outcome.run_id,
    }


def test_report_writes_a_copy_and_says_where(winnow, trained, tmp_path):
    ended = winnow("report", trained.outcome.bundle, "--out", "muons.html", "--no-browser")
    assert ended.out.splitlines()[2] == f"copy            {tmp_path}/muons.html"
    assert (tmp_path / "muons.html").read_bytes() == trained.outcome.report.read_bytes()


REFUSED = {
    "no command": ([], 2, "Usage: winnow"),
    "an unknown command": (["trian"], 2, "No such command 'trian'"),
    "no folder to score into": (["score", "gaussians", "{new}"], 2, "Missing option '--out'"),
    "an unknown simulation": (["simulate", "muons", "x", "--events", "100"], 2, "no simulation 'muons'"),
    "an option without a value": (
        ["simulate", "gaussians", "x", "--events", "100", "--option", "weights"],
        2,
        "--option 'weights' is not KEY=VALUE",
    ),
    "an unknown option of a simulation": (
        ["simulate", "gaussians", "x", "--events", "100", "--option", "dimension=3"],
        2,
        "dimension: unknown key (did you mean 'dimensions'?)",
    ),
    "an experiment file with problems": (["train", "wrong.toml"], 2, "wrong.toml: 4 problems"),
    "an experiment file that is not there": (["train", "gone.toml"], 2, "gone.toml"),
    "an experiment against itself": (["compare", "{experiment}", "{experiment}"], 2, "two experiments would be called"),
    "no search that is declared": (["tune", "{experiment}"], 2, '"model.options.dropout" = { low = 0.0, high = 0.5 }'),
    "no seed": (["compare", "{experiment}", "--seeds", "0"], 2, "Invalid value for '--seeds'"),
    "an unknown model": (["score", "gausians", "{new}", "--out", "o"], 1, "(did you mean 'gaussians'?)"),
    "a folder that is no bundle": (["score", "./gaussians", "{new}", "--out", "o"], 1, "./gaussians is no bundle"),
    "no bundle to report on": (["report", "./gaussians"], 1, "./gaussians is neither a bundle's folder nor a run's"),
    "no report of such a version": (["report", "gaussians/9"], 1, "versions: [3, 2, 1]"),
    "a copy over another file": (["report", "{run}", "--out", "here.csv", "--json"], 2, "--overwrite replaces it"),
    "a copy for a folder": (["report", "{run}", "--out", "more", "--json"], 2, "more is a folder; name a file"),
    "no such version": (["promote", "gaussians/9"], 1, "versions: [3, 2, 1]"),
    "no matching file": (["score", "gaussians", "*.root", "--out", "o"], 1, "no file matches '*.root'"),
    "a folder for a file": (["score", "gaussians", ".", "--out", "o"], 1, "no file matches '.'"),
    "the folder of the input": (["score", "gaussians", "here.csv", "--out", "."], 2, "choose another folder"),
    "a file for a folder": (["score", "gaussians", "here.csv", "--out", "here.csv"], 2, "is a file; name a folder"),
    "two inputs of one name": (["score", "gaussians", "here.csv", "more/here.csv", "--out", "o"], 2, "two input files"),
    "a separator that is none": (
        ["score", "gaussians", "here.csv", "--out", "o", "--separator", "::"],
        2,
        "separator = '::'",
    ),
    "no server where one is named": (["promote", "gaussians/1"], 1, "MLflow at http://127.0.0.1:9 does not do"),
}


@pytest.fixture
def folder_of_mistakes(trained, tmp_path) -> Path:
    """A current folder with an experiment that has four problems, and two files of one name."""
    wrong = trained.file.text.replace("epochs = 30", "").replace("epochs = 3", 'epoch = 3\noptimizer_ = "adam"')
    wrong = wrong.replace('head = "binary"', 'head = "binry"').replace('method = "standard"', 'method = "none at all"')
    (tmp_path / "wrong.toml").write_text(wrong)
    (tmp_path / "more").mkdir()
    for path in (tmp_path / "here.csv", tmp_path / "more" / "here.csv"):
        path.write_bytes(trained.new_events.read_bytes())
    return tmp_path


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_refusal_is_one_message_on_standard_error_and_a_status(
    mistake, winnow, trained, folder_of_mistakes, monkeypatch
):
    arguments, status, told = REFUSED[mistake]
    if "server where one is named" in mistake:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    values = {"new": trained.new_events, "experiment": trained.file.path, "run": trained.outcome.report.parent}
    ended = winnow(*(argument.format(**values) for argument in arguments))
    assert ended.status == status, ended
    assert told in ended.err + (ended.out if mistake == "no command" else "")
    assert "Traceback" not in ended.err
    assert not (folder_of_mistakes / "o").exists()


def test_what_happens_is_logged_to_standard_error_where_one_wants_it(winnow, trained_copy):
    ended = winnow("--verbose", "promote", "gaussians/3", "--json")
    assert ended.json["champion"] == "3"
    assert "INFO flows.tracking.registry: gaussians version 3 is champion (before: 2)" in ended.err


def in_a_process(tmp_path: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own: what it imports of Prefect stays there."""
    command = [sys.executable, "-m", "deploy.cli", *map(str, arguments)]
    variables = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect"), **environment}
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


NO_SCREEN = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "BROWSER": "", "TERM": ""}


def test_report_opens_the_browser(trained, tmp_path):
    ended = in_a_process(tmp_path, "report", trained.outcome.bundle, **{**NO_SCREEN, "BROWSER": "echo opening %s"})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[1:] == [
        f"report          {trained.outcome.report}",
        f"MLflow run      {trained.outcome.run_id}",
        f"opening {trained.outcome.report.as_uri()}",
    ]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has a browser and asks no variable for it")
@pytest.mark.parametrize("browser", ["", "false %s", "no-such-browser"])
def test_report_without_a_browser_says_where_it_is(trained, tmp_path, browser):
    ended = in_a_process(tmp_path, "report", trained.outcome.bundle, **{**NO_SCREEN, "BROWSER": browser})
    assert (ended.returncode, ended.stdout.splitlines()[1]) == (0, f"report          {trained.outcome.report}")
    told = f"no browser could be opened (set BROWSER to one); open {trained.outcome.report} yourself"
    assert ended.stderr.splitlines() == [told]


@pytest.mark.parametrize("option", ["--no-browser", "--json"])
def test_report_opens_nothing_where_that_is_not_wanted(trained, tmp_path, option):
    ended = in_a_process(tmp_path, "report", trained.outcome.bundle, option, BROWSER="echo opening %s")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert str(trained.outcome.report) in ended.stdout
    assert "opening" not in ended.stdout


def test_schedules_without_a_server_are_refused(trained, tmp_path):
    ended = in_a_process(tmp_path, "schedule", trained.file.path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("winnow: schedules need a Prefect server: set PREFECT_API_URL")


def test_the_command_line_says_which_prefect_server_it_uses(trained, tmp_path):
    arguments = ("score", "gaussians", trained.new_events, "--out", "scored")
    ended = in_a_process(tmp_path, *arguments, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines() == [
        "running as a Prefect flow on http://127.0.0.1:9/api",
        "winnow: Prefect does not answer: Failed to reach API at http://127.0.0.1:9/api/; "
        "without PREFECT_API_URL nothing needs it",
    ]
    assert not (tmp_path / "scored").exists()
