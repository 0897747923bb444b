"""Pictures: which ones an evaluation has, in the order of the page."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from models.multiclass import MulticlassEvaluation
from models.multilabel import MultilabelEvaluation
from models.outputs import OutputFinding
from models.record import Evaluation
from models.regression import RegressionEvaluation
from models.report.confusion import confusion_picture, pairs_picture
from models.report.gradients import gradients_picture
from models.report.history import History, history_picture
from models.report.inputs import correlations_picture, importance_picture
from models.report.labels import company_picture
from models.report.outputs import outputs_reliability_picture, outputs_roc_picture, outputs_scores_picture
from models.report.picture import PLAIN_NAMES, ClassNames, Picture, Section
from models.report.reliability import reliability_picture
from models.report.residuals import plane_picture, profile_picture, residuals_picture
from models.report.roc import roc_picture
from models.report.scores import scores_picture
from models.report.significance import significance_picture
from models.report.spectators import spectator_picture
from models.report.templates import templates_picture
from models.workspace import valid_names

LONGEST_FILE_NAME = 80


def pictures_of(
    evaluation: Evaluation, histories: Sequence[History], class_names: ClassNames = PLAIN_NAMES
) -> tuple[Picture, ...]:
    """Draw everything that there is; ``histories`` has one for each fold."""
    return tuple(_drawn(evaluation, histories, class_names))


def pictures_of_classes(evaluation: MulticlassEvaluation, histories: Sequence[History]) -> tuple[Picture, ...]:
    """Draw how well several classes are told apart; ``histories`` has one for each fold."""
    return (
        confusion_picture(evaluation),
        pairs_picture(evaluation),
        *_of_outputs("classes", evaluation.outputs),
        *_of_training(histories),
    )


def pictures_of_flags(evaluation: MultilabelEvaluation, histories: Sequence[History]) -> tuple[Picture, ...]:
    """Draw how well labels are found; ``histories`` has one for each fold."""
    return company_picture(evaluation), *_of_outputs("labels", evaluation.outputs), *_of_training(histories)


def pictures_of_quantities(evaluation: RegressionEvaluation, histories: Sequence[History]) -> tuple[Picture, ...]:
    """Draw how well quantities are predicted; ``histories`` has one for each fold."""
    names = valid_names([found.name[:LONGEST_FILE_NAME] for found in evaluation.quantities])
    drawn = (
        draw(name, found)
        for name, found in zip(names, evaluation.quantities, strict=True)
        for draw in (residuals_picture, plane_picture, profile_picture)
    )
    return *drawn, *_of_training(histories)


def _of_training(histories: Sequence[History]) -> Iterator[Picture]:
    yield history_picture(histories)
    if picture := gradients_picture(histories):
        yield picture


def _of_outputs(section: Section, outputs: Sequence[OutputFinding]) -> Iterator[Picture]:
    for draw in (outputs_roc_picture, outputs_scores_picture, outputs_reliability_picture):
        yield draw(section, outputs)


def _drawn(evaluation: Evaluation, histories: Sequence[History], class_names: ClassNames) -> Iterator[Picture]:
    yield roc_picture(evaluation)
    yield scores_picture(evaluation, class_names)
    yield significance_picture(evaluation)
    if evaluation.probabilities:
        calibrated = evaluation.calibrated.probabilities if evaluation.calibrated else None
        yield reliability_picture(evaluation.probabilities, calibrated)
    if evaluation.inputs:
        yield importance_picture(evaluation.inputs)
        if evaluation.inputs.names:
            yield correlations_picture(evaluation.inputs, class_names)
    # An expression may be longer than a file's name can be.
    names = valid_names([f"spectator_{found.name}"[:LONGEST_FILE_NAME] for found in evaluation.spectators])
    for name, found in zip(names, evaluation.spectators, strict=True):
        if picture := spectator_picture(name, found, class_names):
            yield picture
    if (told := evaluation.dependence) and (picture := spectator_picture("plain_network", told.plain_spectator)):
        caption = f"The same of the network without decorrelation. {picture.caption}"
        yield replace(picture, caption=caption)
    if evaluation.templates and evaluation.templates.templates:
        yield templates_picture(evaluation.templates.templates)
    yield from _of_training(histories)
