"""What the anatomy of a network promises: every layer, with the numbers that it holds and those that it learns."""

from models.anatomy import layers_of
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
