"""What the pictures of several classes and labels promise: every number in its cell, every class by its name."""

from collections.abc import Sequence

import numpy as np
import pytest
from matplotlib.figure import Figure

from models.multiclass import MulticlassEvaluation, ScoredClasses, judge_classes
from models.multilabel import MultilabelEvaluation, ScoredFlags, judge_flags
from models.report.confusion import confusion_figure, confusion_picture, pairs_picture
from models.report.numbers import plus_minus
from models.report.outputs import outputs_reliability_figure, outputs_roc_figure, outputs_roc_picture
from models.report.picture import MOST_ROWS, Picture
from models.report.pictures import pictures_of_classes, pictures_of_flags
from models.scored import Measured


def classes(n_classes: int, seed: int = 1, n_events: int = 1_200) -> MulticlassEvaluation:
    generator = np.random.default_rng(seed)
    labels = np.arange(n_events) % n_classes
    odds = np.exp(generator.normal(size=(n_events, n_classes)) + 2.0 * np.eye(n_classes)[labels])
    weights = np.where(generator.random(n_events) < 0.1, -1.0, 1.0)
    part = ScoredClasses(odds / odds.sum(axis=1, keepdims=True), labels, weights)
    names = [f"class {place}" for place in range(n_classes)]
    return judge_classes({"train": part, "validation": part, "test": part}, names, generator, 2)


def labels(n_labels: int = 2) -> MultilabelEvaluation:
    generator = np.random.default_rng(2)
    flags = generator.random((600, n_labels)) < 0.4
    scores = 1.0 / (1.0 + np.exp(-generator.normal(size=flags.shape) - 2.0 * flags + 1.0))
    part = ScoredFlags(scores, flags, np.ones(600))
    names = [f"label {place}" for place in range(n_labels)]
    return judge_flags({"train": part, "validation": part, "test": part}, names, generator, 2)


@pytest.fixture(scope="module")
def four() -> MulticlassEvaluation:
    return classes(4)


def texts(figure: Figure, panel: int) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].texts]


def test_every_efficiency_and_purity_stands_in_its_cell_with_its_error(four: MulticlassEvaluation) -> None:
    figure = confusion_figure(four)
    for panel, found in enumerate((four.confusion.efficiencies, four.confusion.purities)):
        first = Measured(100.0 * float(found.values[0, 1]), 100.0 * float(found.errors[0, 1]))
        assert plus_minus(first).replace(" ± ", "\n± ") in texts(figure, panel)
        assert len(texts(figure, panel)) == 16


def test_a_share_of_all_has_no_error_in_its_cell() -> None:
    perfect = ScoredClasses(np.eye(3)[np.arange(90) % 3], np.arange(90) % 3, np.ones(90))
    parts = {"train": perfect, "validation": perfect, "test": perfect}
    figure = confusion_figure(judge_classes(parts, "abc", np.random.default_rng(1), 2))  # type: ignore[arg-type]
    assert set(texts(figure, 0)) == {"100", "0"}


def test_all_cells_of_few_classes_are_in_the_table_and_the_largest_of_many(four: MulticlassEvaluation) -> None:
    assert len(confusion_picture(four).rows) == 16
    many = confusion_picture(classes(8))
    assert len(many.rows) == MOST_ROWS
    assert all(true != chosen for true, chosen, *_ in many.rows)
    efficiencies = [row[4].value for row in many.rows if isinstance(row[4], Measured)]
    assert efficiencies == sorted(efficiencies, reverse=True)


def test_pairs_are_listed_once_with_the_hardest_first(four: MulticlassEvaluation) -> None:
    rows = pairs_picture(four).rows
    assert len(rows) == 6
    areas = [row[2].value for row in rows if isinstance(row[2], Measured)]
    assert areas == sorted(areas)


def test_each_class_has_a_curve_with_its_area_in_the_legend(four: MulticlassEvaluation) -> None:
    figure = outputs_roc_figure(four.outputs)
    [legend] = figure.legends
    expected = [f"{output.name}: {plus_minus(output.auc)}" for output in four.outputs]
    assert [text.get_text() for text in legend.get_texts()] == expected
    assert np.array_equal(figure.axes[0].lines[1].get_xdata(), four.outputs[0].roc.fpr)


def test_every_class_has_a_panel_of_its_own(four: MulticlassEvaluation) -> None:
    panels = outputs_reliability_figure(four.outputs).axes
    assert [axes.get_title() for axes in panels] == [output.name for output in four.outputs]


def test_of_very_many_classes_the_worst_are_drawn_and_the_caption_says_so() -> None:
    found = classes(14).outputs
    picture = outputs_roc_picture("classes", found)
    assert "Of 14 outputs, the 12 of the lowest AUC are drawn." in picture.caption
    best = sorted(found, key=lambda output: output.auc.value)[-2:]
    drawn = {text.get_text().split(":")[0] for text in picture.figure.legends[0].get_texts()}
    assert not {output.name for output in best} & drawn
    assert len(picture.rows) == 14


def readable(pictures: Sequence[Picture]) -> bool:
    return all(
        picture.caption.endswith(".")
        and len(picture.rows) <= MOST_ROWS
        and {len(row) for row in picture.rows} <= {len(picture.columns)}
        for picture in pictures
    )


def test_pictures_of_classes_have_names_captions_and_tables_that_can_be_read() -> None:
    pictures = pictures_of_classes(classes(2), [])
    assert [picture.name for picture in pictures] == ["confusion", "pairs", "roc", "scores", "reliability", "history"]
    assert [picture.section for picture in pictures] == ["confusion"] * 2 + ["classes"] * 3 + ["training"]
    assert readable(pictures)


def test_pictures_of_labels_have_names_captions_and_tables_that_can_be_read() -> None:
    pictures = pictures_of_flags(labels(), [])
    assert [picture.name for picture in pictures] == ["labels_together", "roc", "scores", "reliability", "history"]
    assert [picture.section for picture in pictures] == ["labels"] * 4 + ["training"]
    assert readable(pictures)
    assert pictures[0].png.startswith(b"\x89PNG")
