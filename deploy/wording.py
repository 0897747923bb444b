"""Wording: what the commands print for people; machines get the records themselves.

Owns the texts of results. Imports nothing heavy, since every command needs it.
"""

from collections.abc import Callable
from typing import Any


def lines(*keys: str) -> Callable[[Any], str]:
    """Return a text of some entries of a record, one a line."""

    def text(record: Any) -> str:
        shown = {key: record[key] for key in keys}
        joined = {k: ", ".join(v) if isinstance(v, list) else v for k, v in shown.items()}
        return "\n".join(f"{key.replace('_', ' '):<15} {value}" for key, value in joined.items())

    return text


def trained_text(record: Any) -> str:
    """Say what became of a training."""
    events, training = record["events"], record["training"]
    parts = ", ".join(f"{events[part]:,} {part}" for part in ("train", "validation", "test"))
    if (folds := training["folds"]) > 1:
        parts += f" in the first of {folds} folds, which test every event once"
    return "\n".join(
        [
            f"model           {record['model']} version {record['version']}",
            f"champion        {'yes' if record['promoted'] else 'no'}: {record['promotion']}",
            _headline(record["headline"]),
            *map(_of_class, record["test_classes"]),
            f"events          {events['read']:,} read = {events['kept']:,} kept + {events['cut']:,} cut"
            f" + {events['left_out']:,} left out by label or target; {parts}",
            f"training        {training['epochs']} epochs in {training['seconds']:.1f} s,"
            f" {training['events_per_second']:,.0f} events/s on {training['device']} ({_how(training)})",
            f"bundle          {record['bundle']}",
            f"report          {record['report']}",
            f"MLflow run      {record['run_id']}",
        ]
    )


def report_text(record: Any) -> str:
    """Say which report is shown."""
    said = [f"model           {record['model']} version {record['version']}", f"report          {record['report']}"]
    said += [f"copy            {record['copy']}"] if "copy" in record else []
    said += [f"MLflow run      {record['run_id']}"] if record["run_id"] else []
    return "\n".join(said)


def _headline(said: Any) -> str:
    name, value, error = f"test {said['label']}", said["value"], said["error"]
    # An AUC is between 0 and 1; other numbers have a unit, and any size.
    form = ".5f" if said["name"] == "auc" else ".5g"
    number = "not known" if value is None else format(value, form)
    spread = ", with an error that cannot be estimated" if error is None else f" ± {error:{form}}"
    return f"{name:<15} {number}{spread}"


def _how(training: Any) -> str:
    after = f", resumed after epoch {training['resumed_after']}" if training["resumed_after"] else ""
    compiled = f"compiled in {training['compile_seconds']:.1f} s" if training["compiled"] else "not compiled"
    return f"{training['backend']}, {compiled}{after}"


def scored_text(record: Any) -> str:
    """Say what became of the files that were to be scored."""
    again = set(record["already_scored"])
    said = [f"{path}{' (scored before)' if path in again else ''}" for path in record["files"]]
    said.append(
        f"{record['events_in']:,} events in, {record['events_out']:,} out, by {record['model']}"
        f" version {record['version']} in {record['seconds']:.1f} s"
    )
    for output, left_out in record.get("not_copied", {}).items():
        said.append(f"not copied into {output}: {', '.join(left_out)}")
    for file in record["quarantined"]:
        name = "" if file["input"] in file["error"] else f"{file['input']}: "
        said.append(f"quarantined: {name}{file['error']}")
    return "\n".join(said)


def _of_class(found: Any) -> str:
    negative = f", {found['negative_weights']:,} of negative weight" if found["negative_weights"] else ""
    weights = f"sum of weights {found['sum_of_weights']:.6g}, {found['effective_events']:,.1f} effective events"
    return f"{'test ' + found['kind']:<15} {found['events']:,} events{negative}, {weights}"
