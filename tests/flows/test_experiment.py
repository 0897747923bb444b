"""The whole experiment file: read into one frozen value, or every problem told at once."""

from pathlib import Path

import pytest

from flows.experiment import load_experiment
from pipeline.errors import DeclarationError

GOOD = """
[experiment]
name = "pion-muon"
[[samples]]
name = "muons"
label = "signal"
files = ["muons.root"]
[[samples]]
name = "pions"
label = "background"
files = ["pions.root"]
[features]
inputs = ["pt", "eta"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "experiment.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(DeclarationError, match=r"experiment\.toml: \d+ problem") as caught:
        load_experiment(written(folder, text))
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_a_short_file_is_enough_and_the_defaults_are_filled_in(tmp_path: Path) -> None:
    file = load_experiment(written(tmp_path, GOOD))
    assert file.content.classes == ("background", "signal")
    assert file.content.model_dump(mode="json")["training"]["epochs"] > 0
    assert file.folder == tmp_path


def test_the_hash_is_that_of_the_resolved_experiment(tmp_path: Path) -> None:
    hashes = [
        load_experiment(written(tmp_path, text)).content.hash
        for text in (GOOD, GOOD + "[split]\nby = 'content' # as by default\n", GOOD + "[split]\nsalt = 'other'\n")
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(("architecture", "rate"), [("deep-dense", 1e-3), ("fisher", 1e-2), ("logistic", 1e-2)])
def test_the_learning_rate_by_default_is_that_of_the_architecture_and_filled_in(
    tmp_path: Path, architecture: str, rate: float
) -> None:
    text = GOOD + f"[model]\narchitecture = '{architecture}'\n"
    left_out, named, other = (
        load_experiment(written(tmp_path, text + training)).content
        for training in ("[training]\nepochs = 3\n", f"[training]\nepochs = 3\nlearning_rate = {rate}\n",
                         "[training]\nepochs = 3\nlearning_rate = 0.5\n")
    )  # fmt: skip
    assert (left_out.training.learning_rate, other.training.learning_rate) == (rate, 0.5)
    assert left_out.hash == named.hash != other.hash


@pytest.mark.parametrize(("architecture", "loss"), [("deep-dense", "cross-entropy"), ("fisher", "squared-error")])
def test_the_loss_by_default_is_that_of_the_model_and_filled_in(tmp_path: Path, architecture: str, loss: str) -> None:
    text = GOOD + f"[model]\narchitecture = '{architecture}'\n"
    left_out, named, other = (
        load_experiment(written(tmp_path, text + training)).content
        for training in ("", f"[training]\nloss = '{loss}'\n", "[training]\nloss = 'hinge'\n")
    )
    assert left_out.training.loss == loss
    assert left_out.hash == named.hash != other.hash


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("[features]", "[feature]"), "feature: unknown key (did you mean 'features'?)"),
        (("inputs", "input"), "features.input: unknown key (did you mean 'inputs'?)"),
        (('name = "pions"', 'name = "muons"'), "samples: two samples are called 'muons'"),
        (('"background"', '"signal"'), "samples: one class only: signal"),
        (
            ('"background"', '"backgruond"'),
            "samples: received label 'backgruond'; two classes are called 'signal' and 'background'",
        ),
        (
            ('files = ["muons.root"]', 'files = "muons.root"'),
            "samples[muons].files: received 'muons.root'; allowed: a list",
        ),
        (('label = "signal"', "label = 3"), "samples[muons].label: received 3; allowed: a text in quotes or a table"),
        (
            ('name = "pion-muon"', 'name = "my π/μ"'),
            "experiment.name: received 'my π/μ'; a name begins with a letter or digit, and has letters, digits and "
            "- _ . alone, as in 'my'",
        ),
    ],
)
def test_a_misspelt_or_wrong_value_is_named_with_its_place(tmp_path: Path, change: tuple[str, str], line: str) -> None:
    found = problems(tmp_path, GOOD.replace(*change, 1))
    assert any(problem.startswith(line) for problem in found), found


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("[model]\narchitecture = 'deep-dens'", "model: architecture = 'deep-dens' is not known (did you mean"),
        ("[model]\nnoise = -0.1", "model.noise: received -0.1; it should be greater than or equal to 0"),
        ("[training]\nlearning_rate = '0.1'", "training.learning_rate: received '0.1'; allowed: a number"),
        ("[training]\nnoise = 0.1", "training.noise: unknown key (there is one in [model]); allowed here: averaged"),
        ("[training]\nearly_stopping = 10",
         "training.early_stopping: received 10; allowed: a table { watch, patience, min_delta } or false"),
        ("[model]\noptions = { batch_norm = 1 }", "model: options.batch_norm: received 1; allowed: true or false"),
        ("[[model]]", "model: received [{}]; allowed: one table [model]"),
        ("[evaluation]\nbaselines = ['knn', 'tres']",
         "evaluation.baselines: no baseline is called 'knn', 'tres' (did you mean 'trees'?); there are: fisher"),
        ("[training]\nl2 = -1", "training.l2: received -1; it should be greater than or equal to 0"),
        ("[training]\nloss = 'focla'", "training.loss: received 'focla' (did you mean 'focal'?); there are: abs"),
        ("[model]\noptions = { widhts = [1] }", "model: options.widhts: unknown key (did you mean 'widths'?)"),
        ("[split]\nfractions = { train = 0.5 }", "split.fractions: the fractions add up to 0.9, not to 1"),
        ("[split]\nby = 'rows'", "split.by: received 'rows'; allowed: a list [ … ] or 'row', 'content' (did"),
        ("[derive]\nratio = 'a / / b'", "derive: ratio = 'a / / b'"),
        ("[[select]]\nname = 'a'\nkeep = 'pt >'", "select[a].keep: 'pt >' is no expression"),
        ("[training]\nearly_stopping = { patience = 0 }", "training.early_stopping.patience: received 0"),
        ("[normalise]\nmethod = 'standart'", "normalise.method: received 'standart'; allowed: 'standard', 'robust'"),
    ],
)  # fmt: skip
def test_a_section_that_cannot_be_obeyed_is_named_with_its_place(tmp_path: Path, section: str, line: str) -> None:
    (problem,) = problems(tmp_path, GOOD + section)
    assert problem.startswith(line)


def test_problems_in_different_sections_are_told_together(tmp_path: Path) -> None:
    text = (
        GOOD.replace("label", "lable", 1) + "[training]\nepoch = 3\n[weights]\nnegative = 'kep'\n[split]\nfolds = 0\n"
    )
    paths = {problem.split(":")[0] for problem in problems(tmp_path, text)}
    expected = {"samples[muons].lable", "training.epoch", "weights.negative", "split.folds"}
    assert paths == expected


def test_a_head_that_does_not_fit_the_classes_is_refused(tmp_path: Path) -> None:
    third = '[[samples]]\nname = "kaons"\nlabel = "kaon"\nfiles = ["kaons.root"]\n'
    (problem,) = problems(tmp_path, GOOD.replace("[features]", third + "[features]"))
    assert "model.head = 'binary' needs" in problem
    assert "kaon" in problem


SEVERAL = GOOD.replace("[features]", '[[samples]]\nname = "kaons"\nlabel = "kaon"\nfiles = ["kaons.root"]\n[features]')
TARGETS = "[targets]\nenergy = 'E'\n"


@pytest.mark.parametrize(
    ("text", "head", "metric"),
    [(GOOD, "binary", "auc"), (SEVERAL, "softmax", "auc"), (GOOD + TARGETS, "multi-label", "auc"),
     (GOOD + TARGETS, "regression", "rms")],
)  # fmt: skip
def test_the_metric_of_a_promotion_is_that_of_the_head_and_filled_in(
    tmp_path: Path, text: str, head: str, metric: str
) -> None:
    text += f"[model]\nhead = '{head}'\n"
    left_out, named = (
        load_experiment(written(tmp_path, text + more)).content for more in ("", f"[promotion]\nmetric = '{metric}'\n")
    )
    assert left_out.promotion.metric == metric
    assert left_out.hash == named.hash


@pytest.mark.parametrize(
    ("head", "section", "line"),
    [
        ("softmax", "[promotion]\nmetric = 'rms'", "promotion.metric = 'rms' is none of head = 'softmax'; it has: auc"),
        ("softmax", "[evaluation]\ntemplates = true", "evaluation.templates is no question to head = 'softmax'; it"
         " needs head = 'binary'"),
        ("softmax", "[evaluation]\ncalibration = 'platt'\nexpected_signal_fraction = 0.1",
         "evaluation.calibration is no question to head = 'softmax'; it needs head = 'binary'; evaluation.exp"),
        ("softmax", "[evaluation]\nsignal_efficiencies = [0.9]", "evaluation.signal_efficiencies is no question"),
        ("softmax", "[evaluation]\nbackground_uncertainty = 0.2", "evaluation.background_uncertainty is no question"),
        ("softmax", "[evaluation]\nworking_points = [{ name = 'a', purity = 0.9 }]", "evaluation.working_points is no"),
        ("regression", "[evaluation]\nbaselines = ['trees', 'fisher']",
         "evaluation.baselines: 'fisher' cannot rival head = 'regression'; there are: forest, linear, nearest, "),
        ("softmax", "[evaluation]\nbaselines = ['linear']", "evaluation.baselines: 'linear' cannot rival head = 'soft"),
        ("regression", "[evaluation]\nreplicas = 10", "evaluation.replicas is no question to head = 'regression'; it"
         " needs head = 'binary' or 'softmax' or 'multi-label'"),
    ],
)  # fmt: skip
def test_a_question_that_the_head_cannot_answer_is_refused(tmp_path: Path, head: str, section: str, line: str) -> None:
    text = SEVERAL if head == "softmax" else GOOD + TARGETS
    (problem,) = problems(tmp_path, f"{text}[model]\nhead = '{head}'\n{section}\n")
    assert line in problem


def test_spectators_are_no_question_to_several_scores(tmp_path: Path) -> None:
    text = SEVERAL.replace('inputs = ["pt", "eta"]', 'inputs = ["pt", "eta"]\nspectators = ["mass"]')
    (problem,) = problems(tmp_path, text + "[model]\nhead = 'softmax'\n")
    assert "features.spectators is no question to head = 'softmax'; it needs head = 'binary'" in problem


def test_defaults_that_are_written_down_are_no_question(tmp_path: Path) -> None:
    text = (
        SEVERAL + "[model]\nhead = 'softmax'\n[evaluation]\nsignal_efficiencies = [0.3, 0.5, 0.7]\ntemplates = false\n"
    )
    assert load_experiment(written(tmp_path, text)).content.evaluation.templates is False


JETS = "[features.collections.jets]\ninputs = ['jet_pt']\nlength = 4\n"
CUTOUT = "[features.images.cutout]\npixels = 'flux'\nshape = [3, 16]\n"


@pytest.mark.parametrize(
    ("architecture", "blocks", "line"),
    [
        (
            "sets",
            CUTOUT,
            "collection at least, and [features] has none; write [features.collections.jets] with, for ex",
        ),
        ("recurrent", "", "collection at least, and [features] has none; write [features.collections.jets] with, for"),
        ("convolutional", JETS, "image at least, and [features] has none; write [features.images.cutout] with, for ex"),
    ],
)
def test_an_architecture_without_what_it_sees_is_refused(
    tmp_path: Path, architecture: str, blocks: str, line: str
) -> None:
    (problem,) = problems(tmp_path, GOOD + blocks + f"[model]\narchitecture = '{architecture}'\n")
    assert problem.startswith(f"model.architecture = '{architecture}' needs one {line}")


def test_an_image_that_is_too_small_for_its_network_is_refused(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, GOOD + CUTOUT + "[model]\narchitecture = 'convolutional'\n")
    assert problem.startswith("model.options: of image 'cutout', 3 x 16 pixels, 2 poolings by 2 leave nothing")


@pytest.mark.parametrize("architecture", ["deep-dense", "sets", "recurrent", "convolutional"])
def test_what_an_architecture_sees_may_stand_beside_all_else(tmp_path: Path, architecture: str) -> None:
    text = GOOD + JETS + CUTOUT.replace("3,", "8,") + f"[model]\narchitecture = '{architecture}'\n"
    assert load_experiment(written(tmp_path, text)).content.model.architecture == architecture


def test_a_syntax_error_has_its_line(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"is not valid TOML: .*line 3"):
        load_experiment(written(tmp_path, GOOD.replace('"pion-muon"', '"pion-muon')))


SOUGHT = GOOD.replace('label = "signal"\n', "").replace('label = "background"\n', "")
ENERGY = "[targets]\nenergy = 'true_energy'\n"


@pytest.mark.parametrize("head", ["multi-label", "regression"])
def test_with_targets_a_sample_needs_no_label(tmp_path: Path, head: str) -> None:
    content = load_experiment(written(tmp_path, SOUGHT + ENERGY + f"[model]\nhead = '{head}'\n")).content
    assert content.classes == ("events",)
    assert content.training.loss == {"multi-label": "cross-entropy", "regression": "squared-error"}[head]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (SOUGHT, "label is missing: write label = 'signal'"),
        (GOOD + ENERGY, "model.head = 'binary' finds a class, and there are [targets]"),
        (GOOD + "[model]\nhead = 'regression'\n", "model.head = 'regression' needs [targets], each a number"),
        (GOOD + "[training]\nloss = 'hinge'\n[model]\nhead = 'softmax'\n", "'hinge' is none of head = 'softmax'"),
        (GOOD + "[model]\nhead = 'sofmax'\n", "head = 'sofmax' is not known (did you mean 'softmax'?)"),
        (GOOD.replace('"signal"', '"muon"').replace('"background"', '"pion"'), "received label 'muon'"),
    ],
)
def test_what_is_sought_and_the_head_have_to_agree(tmp_path: Path, text: str, line: str) -> None:
    [problem] = problems(tmp_path, text)
    assert line in problem


SPECTATOR = GOOD.replace('inputs = ["pt", "eta"]', 'inputs = ["pt", "eta"]\nspectators = ["mass"]')


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ("decorrelate = { variable = 'mas' }", "variable = 'mas' is no spectator (did you mean 'mass'?); write [feat"),
        ("decorrelate = { variable = 'pt' }", "'pt' is an input, and a network cannot forget what it is shown"),
        ("decorrelate = { variable = 'mass' }\ncompiled = false", "it needs the compiled epoch"),
        ("decorrelate = { variable = 'mass' }\nbatch_size = 64", "it needs a batch_size of 128 or more; received 64"),
        ("decorrelate = { variable = 'mass' }\nearly_stopping = { watch = 'loss' }", "early_stopping.watch = 'loss'"),
        ("decorrelate = { variable = 'mass' }\n[model]\narchitecture = 'perceptron'", "a step has no slope"),
        ("decorrelate = { variable = 'mass' }\n[model]\nhead = 'softmax'", "training.decorrelate is for head = 'bi"),
    ],
)
def test_what_cannot_be_decorrelated_is_refused(tmp_path: Path, settings: str, line: str) -> None:
    (problem,) = problems(tmp_path, SPECTATOR + f"[training]\n{settings}\n")
    assert line in problem


def test_decorrelation_from_a_spectator_is_taken(tmp_path: Path) -> None:
    text = SPECTATOR + "[training]\ndecorrelate = { variable = 'mass', method = 'adversary' }\n"
    found = load_experiment(written(tmp_path, text)).content.training.decorrelate
    assert found is not None
    assert (found.variable, found.method, found.strength, found.within) == ("mass", "adversary", 10.0, "background")
