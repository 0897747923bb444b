"""What the pictures of the inputs promise: each class has its own matrix, and each bar the numbers of the record."""

from collections.abc import Sequence

import numpy as np
import pytest
from matplotlib.figure import Figure

from models.importance import Correlations
from models.inputs import InputFinding, InputFindings
from models.report.inputs import (
    MOST_BARS,
    MOST_WRITTEN,
    correlations_figure,
    correlations_picture,
    importance_figure,
    importance_picture,
)
from models.report.picture import MOST_ROWS, ClassNames
from models.scored import Floats, Measured

NAMES = ("pt", "eta", "phi", "mass")
NAN = float("nan")


def matrix(**pairs: float) -> Floats:
    """Return the correlations of the four features: those of neighbours as named, 0.01 elsewhere."""
    found = np.full((4, 4), 0.01)
    np.fill_diagonal(found, 1.0)
    for pair, value in pairs.items():
        i, j = (NAMES.index(name) for name in pair.split("_"))
        found[i, j] = found[j, i] = value
    return found


SIGNAL = matrix(pt_eta=0.9, eta_phi=0.3, phi_mass=NAN)
BACKGROUND = matrix(pt_eta=-0.2, eta_phi=-0.5, phi_mass=0.7)
FOUND = Correlations(SIGNAL, BACKGROUND)


def findings(names: Sequence[str], found: Correlations | None = None) -> InputFindings:
    inputs = tuple(
        InputFinding(name, Measured(0.3 / (i + 1), 0.01 + 0.001 * i), Measured(0.1 * i, 0.02), Measured(0.6, 0.1), 0)
        for i, name in enumerate(names)
    )
    alike = np.full((len(names), len(names)), 0.5)
    return InputFindings(inputs, tuple(names), found or Correlations(alike, alike), 1_000)


def matrices(figure: Figure) -> dict[str, Floats]:
    return {axes.get_title(): np.ma.filled(axes.images[0].get_array(), NAN) for axes in figure.axes if axes.images}


@pytest.mark.parametrize(
    "class_names", [{"signal": "muons", "background": "pions"}, {"background": "pions", "signal": "muons"}]
)
def test_the_matrix_under_the_name_of_a_class_is_that_of_the_class(class_names: ClassNames) -> None:
    picture = correlations_picture(findings(NAMES, FOUND), class_names)
    shown = matrices(picture.figure)
    assert np.array_equal(shown["muons"], SIGNAL, equal_nan=True)
    assert np.array_equal(shown["pions"], BACKGROUND)
    assert picture.columns[2:] == ("muons", "pions")
    assert picture.rows[0] == ("pt", "eta", 0.9, -0.2)


def test_a_correlation_that_does_not_exist_is_blank() -> None:
    signal, background = (axes for axes in correlations_figure(NAMES, FOUND).axes if axes.images)
    places = [text.get_position() for text in signal.texts]
    assert len(background.texts) == 16
    assert {(i, j) for i in range(4) for j in range(4)} - {*places} == {(2, 3), (3, 2)}


def test_each_number_stands_in_the_cell_of_its_pair() -> None:
    [axes, *_] = correlations_figure(NAMES, Correlations(np.arange(16.0).reshape(4, 4) / 100.0, BACKGROUND)).axes
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written[(1, 0)] == "0.01"
    assert written[(0, 1)] == "0.04"


@pytest.mark.parametrize(("n_features", "n_written"), [(MOST_WRITTEN, MOST_WRITTEN**2), (MOST_WRITTEN + 1, 0)])
def test_numbers_are_written_where_there_is_room_for_them(n_features: int, n_written: int) -> None:
    found = findings([f"x{i}" for i in range(n_features)])
    [axes, *_] = correlations_figure(found.names, found.correlations).axes
    assert len(axes.texts) == n_written


def test_columns_that_are_too_many_for_names_have_the_numbers_of_the_rows() -> None:
    found = findings([f"x{i}" for i in range(20)])
    [axes, *_] = correlations_figure(found.names, found.correlations).axes
    assert axes.get_yticklabels()[19].get_text() == "x19  20"
    assert axes.get_xticklabels()[19].get_text() == "20"


def test_the_table_begins_with_the_strongest_pair_of_either_class_and_has_no_feature_with_itself() -> None:
    rows = correlations_picture(findings(NAMES, FOUND)).rows
    assert [row[:2] for row in rows[:3]] == [("pt", "eta"), ("phi", "mass"), ("eta", "phi")]
    assert len({frozenset(row[:2]) for row in rows}) == len(rows) == 6
    assert all(row[0] != row[1] for row in rows)


def test_a_pair_without_correlation_in_both_classes_is_in_no_row() -> None:
    lost = matrix(phi_mass=NAN, pt_mass=NAN)
    rows = correlations_picture(findings(NAMES, Correlations(lost, lost))).rows
    assert len(rows) == 4
    assert all(np.isfinite(row[2:]).all() for row in rows)  # type: ignore[arg-type]


def test_of_very_many_pairs_the_strongest_are_in_the_table() -> None:
    alike = np.zeros((20, 20))
    alike[np.triu_indices(20, k=1)] = np.random.default_rng(1).permutation(190) / 190.0
    rows = correlations_picture(findings([f"x{i}" for i in range(20)], Correlations(-alike, alike))).rows
    assert [row[3] for row in rows] == [place / 190.0 for place in range(189, 189 - MOST_ROWS, -1)]


def test_bars_have_the_values_and_errors_of_the_record_the_first_on_top() -> None:
    found = findings(NAMES).inputs
    importance, separation = importance_figure(found).axes
    assert [label.get_text() for label in importance.get_yticklabels()] == list(NAMES)
    assert importance.get_ylim()[0] > importance.get_ylim()[1]
    for axes, values in ((importance, [f.importance for f in found]), (separation, [f.separation for f in found])):
        bars, errors = axes.containers
        assert [bar.get_width() for bar in bars] == [one.value for one in values]
        [segments] = errors.lines[2]  # type: ignore[attr-defined]
        ends = np.array([segment[:, 0] for segment in segments.get_segments()])
        np.testing.assert_allclose(ends, [(one.value - one.error, one.value + one.error) for one in values])


def test_an_importance_without_error_has_its_bar_all_the_same() -> None:
    [importance, _] = importance_figure([InputFinding("pt", *[Measured(0.2, NAN)] * 3, 0)]).axes
    assert importance.patches[0].get_width() == 0.2  # type: ignore[attr-defined]


def test_sixty_features_with_long_names_leave_room_for_the_bars_of_the_most_important() -> None:
    names = [f"the_transverse_momentum_of_the_{i}th_jet_by_the_energy_of_all_{'other_' * 10}tracks" for i in range(60)]
    picture = importance_picture(findings(names))
    [importance, _] = picture.figure.axes
    assert importance.get_position().width > 0.2
    assert [bar.get_width() for bar in importance.containers[0]] == [0.3 / (i + 1) for i in range(MOST_BARS)]


def test_long_names_leave_room_for_the_matrices() -> None:
    found = findings([f"{i}_{'sum_of_the_momenta_' * 8}in_gev" for i in range(3)])
    [axes, *_] = correlations_figure(found.names, found.correlations).axes
    assert axes.get_position().height > 0.2
    assert [label.get_text()[:2] for label in axes.get_yticklabels()] == ["0_", "1_", "2_"]
    assert all(label.get_text().endswith("_in_gev") for label in axes.get_yticklabels())


def test_a_name_is_never_taken_as_a_formula() -> None:
    found = findings([r"Sum$(x_)$", r"$\frac{a$", "$"])
    drawn = [importance_figure(found.inputs), correlations_figure(found.names, found.correlations)]
    for figure in drawn:
        assert [one.get_text() for one in figure.axes[0].get_yticklabels()] == [r"Sum\$(x_)\$", r"\$\frac{a\$", r"\$"]
