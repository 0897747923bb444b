"""What may be searched, and what is told of the rest before anything is trained."""

from pathlib import Path

import pytest

from flows.experiment import load_experiment
from flows.search import Axis, example_section
from models.build import ARCHITECTURES
from pipeline.errors import DeclarationError

EXPERIMENT = """
[experiment]
name = "searched"
[[samples]]
name = "both"
files = ["events.csv"]
label = { column = "label", signal = 1, background = 0 }
[features]
inputs = ["x"]
"""
GOOD = '"training.learning_rate" = { low = 1e-4, high = 1e-2, log = true }'


def problems(folder: Path, search: str, rest: str = "") -> str:
    (folder / "searched.toml").write_text(f"{EXPERIMENT}{rest}\n[tune.search]\n{search}\n")
    with pytest.raises(DeclarationError, match=r"searched\.toml: 1 problem") as caught:
        load_experiment(folder / "searched.toml")
    return str(caught.value).splitlines()[1]


REFUSED = {
    "an unknown setting": (
        '"training.learning_rat" = { low = 1e-4, high = 1e-2 }',
        "tune.search.'training.learning_rat': training.learning_rat: unknown key (did you mean 'learning_rate'?)",
    ),
    "an unknown option": (
        '"model.options.dropuot" = { low = 0.0, high = 0.5 }',
        "options.dropuot: unknown key (did you mean 'dropout'?)",
    ),
    "a value that is refused": ('"model.options.dropout" = { low = 0.0, high = 1.5 }', "options.dropout: received 1.5"),
    "a fraction": ('"training.batch_size" = { low = 1.0, high = 9.0 }', "training.batch_size: received"),
    "a choice that is refused": ('"training.optimizer" = { choices = ["adam", "adm"] }', "(did you mean 'adam'?)"),
    "an option of another architecture": (
        '"model.architecture" = { choices = ["deep-dense", "logistic"] }',
        "tune.search.'model.architecture': model: options.widths: unknown key",
    ),
    "the loss": ('"training.loss" = { choices = ["hinge", "focal"] }', "'training.loss': validation losses of"),
    "what has no effect": ('"training.memory_gib" = { low = 1, high = 2 }', "changes how a training runs"),
    "another section": ('"normalise.clip" = { low = 1, high = 2 }', "only settings of [model] and [training]"),
    "a misspelt section": ('"trainin.epochs" = { low = 1, high = 2 }', "(did you mean 'training'?)"),
    "a whole section": ('training = { low = 1, high = 2 }', "a whole section is no setting"),
    "a part of another": (
        '"training.schedule" = { choices = [{ decay = "none" }, { decay = "cosine" }] }\n'
        '"training.schedule.final" = { low = 0.0, high = 0.1 }',
        "'training.schedule.final' is a part of it",
    ),
    "nothing": ("", "search: received {}; at least 1 is needed"),
    "no values": ('"training.epochs" = { log = true }', "give low and high (and log), or choices; received log"),
    "two kinds of values": ('"training.epochs" = { low = 1, high = 2, choices = [1, 2] }', "received choices, h"),
    "ends that are swapped": ('"training.epochs" = { low = 3, high = 2 }', "low = 3 is not below high = 2"),
    "a logarithm of nothing": ('"training.l2" = { low = 0.0, high = 0.1, log = true }', "with log = true, low is more"),
    "a choice twice": ('"training.epochs" = { choices = [3, 3] }', "a choice is there twice: 3, 3"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_cannot_be_searched_is_one_problem_of_the_file(tmp_path, mistake):
    search, told = REFUSED[mistake]
    rest = "[model]\noptions = { widths = [8] }\n" if "architecture" in mistake else ""
    assert told in problems(tmp_path, search, rest)


def test_losses_of_other_architectures_are_not_compared(tmp_path):
    search = '"model.architecture" = { choices = ["logistic", "fisher"] }'
    told = problems(tmp_path, search, "[model]\narchitecture = 'logistic'\n")
    assert "with 'fisher' the loss is 'squared-error', else 'cross-entropy'" in told
    named = "[model]\narchitecture = 'logistic'\n[training]\nloss = 'cross-entropy'\n"
    (tmp_path / "named.toml").write_text(f"{EXPERIMENT}{named}[tune.search]\n{search}\n")
    assert load_experiment(tmp_path / "named.toml").content.tune


def test_with_folds_there_is_no_event_to_search_by(tmp_path):
    assert "tune: with split.folds = 3 every event tests a network" in problems(tmp_path, GOOD, "[split]\nfolds = 3\n")


BLOCKS = """
[features.collections.jets]
inputs = ["jet_pt"]
length = 3
[features.images.cutout]
pixels = "flux"
shape = [8, 8]
"""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_example_for_each_architecture_is_one_that_can_be_searched(tmp_path, architecture):
    text = f"{EXPERIMENT}{BLOCKS}[model]\narchitecture = '{architecture}'\n"
    (tmp_path / "plain.toml").write_text(text)
    example = example_section(load_experiment(tmp_path / "plain.toml").content.model)
    (tmp_path / "searched.toml").write_text(f"{text}{example}\n")
    tune = load_experiment(tmp_path / "searched.toml").content.tune
    assert tune is not None
    assert "training.learning_rate" in tune.search


@pytest.mark.parametrize(
    ("axis", "inside", "outside"),
    [
        ({"low": 1, "high": 5}, [1, 3, 5], [0, 6, 2.5, True, None, "3"]),
        ({"low": 0.0, "high": 0.5}, [0, 0.0, 0.25, 0.5], [-0.1, 0.6, None]),
        ({"choices": [[8], [16, 16]]}, [[8], [16, 16]], [[16], 8, None]),
    ],
)
def test_an_axis_knows_its_values(axis, inside, outside):
    found = Axis.model_validate(axis)
    assert all(found.contains(value) for value in inside)
    assert not any(found.contains(value) for value in outside)
