"""What a headline promises: it is read back from its record, and lists of metrics hold numbers alone."""

import json

import numpy as np

from models.headline import Headline, headed, recorded_headline, that_exist, with_errors
from models.scored import Measured

AUC = Headline("auc", "mean AUC", Measured(0.9, 0.01), higher_is_better=True)


def test_a_headline_is_read_back_from_its_record() -> None:
    record = json.loads(json.dumps(headed(AUC, {"counts": np.arange(3)})))
    assert recorded_headline(record) == AUC
    assert record["counts"] == [0, 1, 2]


def test_an_error_that_does_not_exist_is_nan_again() -> None:
    record = headed(Headline("rms", "RMS", Measured(2.0, float("nan")), higher_is_better=False), {})
    assert record["headline"]["value"] == {"value": 2.0, "error": None}
    assert np.isnan(recorded_headline(record).value.error)


def test_metrics_have_their_errors_beside_them_and_what_does_not_exist_is_left_out() -> None:
    metrics = with_errors({"auc": Measured(0.9, 0.01), "purity": Measured(0.5, float("nan"))})
    assert that_exist(metrics) == {"auc": 0.9, "auc_error": 0.01, "purity": 0.5}
