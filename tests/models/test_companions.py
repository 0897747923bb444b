"""What a bundle promises beside scores: the same cuts, on the same variables, wherever events come from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from models.bundle import MODEL, Bundle, BundleManifest, load_bundle, write_bundle
from models.calibration import Calibration
from models.companions import columns_of_cuts
from models.cuts import Bins, Cut
from pipeline.chunk import Chunk, chunk_of
from pipeline.errors import ColumnTypeError, DeclarationError, ExpressionError, MissingColumnError
from pipeline.features import Recipe
from pipeline.layout import Layout
from pipeline.normalise import InputTransform

RECIPE = Recipe(
    derive={"ratio": "pt / eta", "twice": "2 * ratio"},
    inputs=("pt", "energy (GeV)"),
    sentinels=(-999.0,),
    own_sentinels={"phi": (-7.0,)},
)
TRANSFORM = InputTransform(
    features=RECIPE.inputs,
    sentinels=((), ()),
    fill=(0.0, 0.0),
    flagged=(),
    offset=(0.0, 0.0),
    scale=(1.0, 1.0),
    clip=None,
)
FEATURE_COLUMNS = {"pt": "float", "energy (GeV)": "float"}
OTHERS = {"eta": "float", "phi": "float", "hits": "integer", "name": "string", "jets": "jagged"}
CALIBRATION = Calibration(method="platt", temperature=2.0, intercept=0.1, fitted_fraction=0.5, expected_fraction=0.1)


def flat(threshold: float, name: str = "flat") -> Cut:
    return Cut(name=name, quantity="purity", requested=0.9, thresholds=(threshold,))


def binned(variable: str, name: str = "binned") -> Cut:
    """Return a cut at 0.5 below 2 and at 0.8 above."""
    bins = Bins(variable=variable, edges=(0.0, 2.0, 4.0))
    return Cut(name=name, quantity="purity", requested=0.9, thresholds=(0.5, 0.8), bins=bins)


def manifest_with(*cuts: Cut, **changes: Any) -> BundleManifest:
    fields = {
        "name": "toy",
        "classes": ("background", "signal"),
        "recipe": RECIPE,
        "columns": FEATURE_COLUMNS,
        "layouts": (Layout(),),
        "transform": TRANSFORM,
        "cuts": cuts,
        "cut_columns": columns_of_cuts(cuts, RECIPE, FEATURE_COLUMNS, OTHERS),
        "provenance": {},
        "files": {},
    }
    return BundleManifest.model_validate({**fields, **changes})


def bundle_with(*cuts: Cut, **changes: Any) -> Bundle:
    return Bundle(Path("nowhere"), manifest_with(*cuts, **changes))


def events_with(n_events: int = 1, **columns: Any) -> Chunk:
    known = {name: np.ones(n_events) for name in ("pt", "energy (GeV)", "eta", "phi", "hits")}
    return chunk_of({**known, **columns})


def scores_of(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def test_an_event_passes_a_flat_cut_at_its_threshold_and_above() -> None:
    passes = bundle_with(flat(0.75)).passes(events_with(3), scores_of(0.7, 0.75, 0.8))
    assert passes["passes_flat"].tolist() == [False, True, True]
    assert passes["passes_flat"].dtype == np.bool_


VARIABLES = {
    "a column of the features": ("pt", {"pt": [1.0, 3.0]}),
    "a column of no feature": ("eta", {"eta": [1.0, 3.0]}),
    "an integer column": ("hits", {"hits": np.array([1, 3])}),
    "a derived column": ("ratio", {"pt": [2.0, 6.0], "eta": [2.0, 2.0]}),
    "a derived column of derived ones": ("twice", {"pt": [1.0, 3.0], "eta": [2.0, 2.0]}),
    "an expression": ("eta + phi", {"eta": [0.5, 1.5], "phi": [0.5, 1.5]}),
    "a column whose name is no expression": ("energy (GeV)", {"energy (GeV)": [1.0, 3.0]}),
    "a list reduced": ("max(jets)", {"jets": [[1.0, 0.5], [3.0]]}),
    "below and above all bins": ("eta", {"eta": [-5.0, 50.0]}),
    "infinities": ("eta", {"eta": [-np.inf, np.inf]}),
    "the inner edge": ("eta", {"eta": [1.999, 2.0]}),
}


@pytest.mark.parametrize(("variable", "columns"), VARIABLES.values(), ids=VARIABLES.keys())
def test_the_threshold_is_that_of_the_bin(variable: str, columns: dict[str, Any]) -> None:
    passes = bundle_with(binned(variable)).passes(events_with(2, **columns), scores_of(0.7, 0.7))
    assert passes["passes_binned"].tolist() == [True, False]


MISSING = {
    "NaN": ("eta", {"eta": [np.nan]}),
    "None": ("eta", {"eta": [None]}),
    "a sentinel": ("eta", {"eta": [-999.0]}),
    "an integer sentinel": ("hits", {"hits": np.array([-999])}),
    "a sentinel of its own": ("phi", {"phi": [-7.0]}),
    "NaN in a derived column": ("ratio", {"eta": [np.nan]}),
    "a sentinel in a derived column": ("ratio", {"eta": [-999.0], "pt": [-999.0]}),
    "a sentinel in an expression": ("eta + 1000", {"eta": [-999.0]}),
    "a sentinel two steps away": ("twice + 1", {"pt": [-999.0]}),
}


@pytest.mark.parametrize(("variable", "columns"), MISSING.values(), ids=MISSING.keys())
def test_an_event_whose_variable_is_missing_does_not_pass(variable: str, columns: dict[str, Any]) -> None:
    passes = bundle_with(binned(variable)).passes(events_with(**columns), scores_of(1.0))
    assert passes["passes_binned"].tolist() == [False]


def test_every_cut_has_a_column_and_the_probability_stands_last() -> None:
    bundle = bundle_with(binned("eta", "a"), flat(0.5, "b"), binned("ratio", "c"), calibration=CALIBRATION)
    found = bundle.companions(events_with(2), scores_of(0.4, 0.6))
    assert {name: column.dtype for name, column in found.items()} == bundle.companion_types
    assert list(found) == ["passes_a", "passes_b", "passes_c", "probability"]
    assert bundle.companion_types["probability"] == np.float32


def test_without_cuts_and_calibration_nothing_follows_from_a_score() -> None:
    bundle = bundle_with()
    assert bundle.companions(chunk_of({"pt": [1.0]}), scores_of(0.4)) == bundle.companion_types == {}
    assert bundle.columns_to_read == FEATURE_COLUMNS


def test_no_events_pass_nothing() -> None:
    bundle = bundle_with(binned("ratio"), calibration=CALIBRATION)
    found = bundle.companions(events_with(0), scores_of())
    assert {name: column.shape for name, column in found.items()} == {"passes_binned": (0,), "probability": (0,)}


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_what_passes_does_not_depend_on_chunk_size(size: int) -> None:
    generator, bundle = np.random.default_rng(1), bundle_with(binned("ratio"), binned("eta", "other"))
    columns = {name: generator.normal(2.0, 2.0, 1000) for name in ("pt", "energy (GeV)", "eta")}
    scores = generator.random(1000, dtype=np.float32)
    whole = bundle.passes(chunk_of(columns), scores)
    slices = [slice(start, start + size) for start in range(0, 1000, size)]
    parts = [bundle.passes(chunk_of({n: c[part] for n, c in columns.items()}), scores[part]) for part in slices]
    assert 0 < np.count_nonzero(whole["passes_binned"]) < 1000
    assert all(np.array_equal(np.concatenate([part[name] for part in parts]), whole[name]) for name in whole)


@pytest.mark.parametrize(("variable", "name"), [("ratio", "ratio"), ("ratio", "pt / eta"), ("eta + pt", "eta + pt")])
def test_a_column_named_as_what_is_computed_does_not_disturb(variable: str, name: str) -> None:
    events = events_with(pt=[0.5], eta=[0.5]).with_columns({name: np.array([3.0])})
    assert bundle_with(binned(variable)).passes(events, scores_of(0.7))["passes_binned"].tolist() == [True]


def test_the_probability_is_that_of_the_calibration() -> None:
    scores = scores_of(0.0, 0.3, 0.9, 1.0)
    found = bundle_with(calibration=CALIBRATION).probability(scores)
    np.testing.assert_array_equal(found, CALIBRATION.apply(scores))
    assert found.dtype == np.float32


def test_without_a_calibration_there_is_no_probability() -> None:
    with pytest.raises(DeclarationError, match="the model 'toy' has no calibration"):
        bundle_with(flat(0.5)).probability(scores_of(0.5))


UNUSABLE = {
    "a missing column": ({"eta": None}, MissingColumnError, r"has no column 'eta'; it has: "),
    "a misspelt column": ({"eta": None, "Eta": [1.0]}, MissingColumnError, r"'eta' \(did you mean 'Eta'\?\)"),
    "text": ({"eta": ["forward"]}, ColumnTypeError, r"'eta' is text"),
    "a list": ({"eta": [[1.0, 2.0]]}, ExpressionError, r"'eta' is a list for each event"),
}


@pytest.mark.parametrize(("change", "kind", "message"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_events_of_another_kind_are_refused(change: dict[str, Any], kind: type[Exception], message: str) -> None:
    columns = {"pt": [1.0], "energy (GeV)": [1.0], **change}
    with pytest.raises(kind, match=message):
        bundle_with(binned("eta")).passes(
            chunk_of({name: values for name, values in columns.items() if values is not None}), scores_of(0.5)
        )


NEEDS = {
    "no bins": ([flat(0.5)], {}),
    "a feature's column": ([binned("pt")], {}),
    "another column": ([binned("hits")], {"hits": "integer"}),
    "a derived column": ([binned("twice")], {"eta": "float"}),
    "lists": ([binned("max(jets) + phi")], {"jets": "jagged", "phi": "float"}),
    "several cuts": ([binned("eta", "a"), binned("ratio", "b"), binned("phi", "c")], {"eta": "float", "phi": "float"}),
}


@pytest.mark.parametrize(("cuts", "needed"), NEEDS.values(), ids=NEEDS.keys())
def test_the_columns_of_cuts_are_those_that_features_do_not_need(cuts: list[Cut], needed: dict[str, str]) -> None:
    assert columns_of_cuts(cuts, RECIPE, FEATURE_COLUMNS, OTHERS) == needed
    assert bundle_with(*cuts).columns_to_read == {**FEATURE_COLUMNS, **needed}


def test_a_variable_of_unknown_columns_is_refused() -> None:
    with pytest.raises(MissingColumnError, match=r"what is known of the files has no column 'met'"):
        columns_of_cuts([binned("met / pt")], RECIPE, FEATURE_COLUMNS, OTHERS)


REFUSED: dict[str, tuple[list[Cut], dict[str, Any], str]] = {
    "two of one name": ([flat(0.5, "a"), flat(0.6, "a")], {}, "two cuts are called 'a'"),
    "a column without a kind": ([binned("eta")], {"cut_columns": {}}, "of cuts cannot be had: .* no column 'eta'"),
    "no variable": ([binned("pt +")], {"cut_columns": {}}, "the variables of cuts cannot be had"),
}


@pytest.mark.parametrize(("cuts", "changes", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_cuts_that_cannot_be_applied_are_refused_when_a_bundle_is_made(
    cuts: list[Cut], changes: dict[str, Any], told: str
) -> None:
    content = {**manifest_with().model_dump(), "cuts": [cut.model_dump() for cut in cuts], **changes}
    with pytest.raises(ValidationError, match=told):
        BundleManifest.model_validate(content)


def test_cuts_and_calibration_come_back_from_the_folder_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "any.onnx").write_bytes(b"is hashed, and not read here")
    manifest = manifest_with(flat(float(np.float32(0.7))), binned("ratio"), calibration=CALIBRATION)
    write_bundle(tmp_path / "bundle", manifest, {MODEL: tmp_path / "any.onnx"})
    found = load_bundle(tmp_path / "bundle").manifest
    fields = ("cuts", "calibration", "cut_columns")
    assert [getattr(found, field) for field in fields] == [getattr(manifest, field) for field in fields]


def test_a_manifest_of_before_there_were_cuts_is_read() -> None:
    content = manifest_with().model_dump(mode="json", exclude={"cuts", "calibration", "cut_columns"})
    assert BundleManifest.model_validate(content) == manifest_with()
