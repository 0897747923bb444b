"""The experiment file of a simulated sample, as text.

Owns what the files of all samples have in common: who asks what, how to train, and the small sections that
many of them need. The part that knows the columns is written beside the physics that makes them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MANY_EVENTS = 20_000
"""From here on batches are large, and there are enough events to compare with other learners."""


@dataclass(frozen=True)
class Network:
    """What is trained: the keys of ``[model]``, and further lines for ``[training]``.

    ``options`` are left to the architecture where there are none.
    """

    architecture: str = "deep-dense"
    head: str = "binary"
    options: str = ""
    training: str = ""


DENSE = Network(options="{ widths = [64, 64, 64], batch_norm = true, dropout = 0.1 }")
CLASSES = Network(head="softmax", options=DENSE.options)
QUANTITY = Network(head="regression", options="{ widths = [64, 64, 64], batch_norm = false, dropout = 0.0 }")
PICTURES = Network("convolutional")


def experiment_text(
    name: str, question: str, sections: str, network: Network, n_events: int, seed: int, new_file: str
) -> str:
    """Return the text of the experiment file: who asks what, the sample's own sections, how to train."""
    parts = [
        f"""\
# Simulated by `winnow simulate {name}`, not measured: {n_events} events to learn from, new ones to score in {new_file}.

[experiment]
name = "{name}"
seed = {seed}
question = "{question}"
""",
        sections,
        '[normalise]\nmethod = "standard"\n',
        _weights(network),
        _model(network),
        _training(network, n_events),
        _judgement(network, n_events),
        f"""\
[schedule]
train = "0 3 * * *"
score = {{ every = "10m", watch = "incoming/*.{new_file.rpartition(".")[2]}", out = "scored/" }}
""",
    ]
    return "\n".join(filter(None, parts))


def _weights(network: Network) -> str:
    return '[weights]\nnegative = "keep"\nbalance = "classes"\n' if network.head != "regression" else ""


def _model(network: Network) -> str:
    options = f"options = {network.options}\n" if network.options else ""
    return f'[model]\narchitecture = "{network.architecture}"\nhead = "{network.head}"\n{options}'


def _training(network: Network, n_events: int) -> str:
    return f"""\
[training]
epochs = 30
batch_size = {1024 if n_events >= MANY_EVENTS else 256}
optimizer = "adam"
learning_rate = 1e-3
early_stopping = {{ watch = "validation_loss", patience = 6 }}
reduce_on_plateau = {{ factor = 0.3, patience = 3 }}
{network.training}"""


def _judgement(network: Network, n_events: int) -> str:
    asked = "signal_efficiencies = [0.5, 0.8, 0.9]\n" if network.head == "binary" else ""
    rivals = ("linear" if network.head == "regression" else "logistic", "trees") if n_events >= MANY_EVENTS else ()
    return f"""\
[evaluation]
{asked}baselines = [{quoted(rivals)}]

[promotion]
metric = "{"rms" if network.head == "regression" else "auc"}"
better_than_champion_by = 0.0
"""


def quoted(names: Iterable[str]) -> str:
    """Return names as the inside of a list in TOML."""
    return ", ".join(f'"{name}"' for name in names)


def sample(file: str, label: str = "") -> str:
    """Return ``[[samples]]`` for one file, with ``label`` as its line says it; without one there are no classes."""
    stem, _, suffix = file.rpartition(".")
    label_line = f"label = {label}\n" if label else ""
    tree = 'tree = "events"\n' if suffix == "root" else ""
    return f'[[samples]]\nname = "{stem}"\n{label_line}files = ["{file}"]\n{tree}'


def columns(units: Mapping[str, str]) -> str:
    """Return ``[columns]``: the identity of an event, and the units of the other columns that have one."""
    lines = "".join(f'{name} = {{ unit = "{unit}" }}\n' for name, unit in units.items() if unit)
    return f'[columns]\nevent = {{ kind = "id" }}\n{lines}'


def split(*identity: str) -> str:
    """Return ``[split]`` by the columns that identify an event."""
    return f"[split]\nby = [{quoted(identity)}]\nfractions = {{ train = 0.6, validation = 0.2, test = 0.2 }}\n"
