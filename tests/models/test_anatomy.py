"""What the anatomy of a network promises: every layer, with the numbers that it holds and what it reads."""

from models.anatomy import calls_of, layers_of
from models.build import ModelSpec, build


def test_every_layer_is_listed_with_its_shape_and_what_it_has_learnt() -> None:
    network = build(ModelSpec(options={"widths": (7,), "dropout": 0.2}), 3, 2, seed=1)
    found = [(layer.kind, layer.shape, layer.parameters, layer.learnt) for layer in layers_of(network)]
    assert found == [
        ("InputLayer", (3,), 0, 0),
        ("Dense", (7,), 21, 21),
        ("BatchNormalization", (7,), 28, 14),
        ("Activation", (7,), 0, 0),
        ("Dropout", (7,), 0, 0),
        ("Dense", (1,), 8, 8),
    ]
    assert sum(layer.parameters for layer in layers_of(network)) == network.count_params()


def test_every_call_says_what_it_does_and_which_calls_it_reads() -> None:
    options = {"width": 7, "blocks": 1, "activation": "gelu", "dropout": 0.2}
    network = build(ModelSpec(architecture="residual", options=options, noise=0.1), 3, 2, seed=1)
    calls = calls_of(network)
    assert [(call.words, call.inputs) for call in calls] == [
        ("inputs", ()),
        ("noise 0.1", (0,)),
        ("dense", (1,)),
        ("dense", (2,)),
        ("batch norm", (3,)),
        ("gelu", (4,)),
        ("dropout 0.2", (5,)),
        ("dense", (6,)),
        ("add", (2, 7)),
        ("logits: dense", (8,)),
    ]
    assert [call.has_kernel for call in calls] == [call.words.endswith("dense") for call in calls]
    assert sum(call.parameters for call in calls) == network.count_params()
