"""Wording: what the commands print for people; machines get the records themselves.

Owns the texts of results. Imports nothing heavy, since every command needs it.
"""

import json
from collections.abc import Callable
from typing import Any

FORMS = {"auc": ".5f", "rms": ".5g"}
"""How a number is written: an AUC is between 0 and 1; an RMS has a unit, and any size."""


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
    name, value, error, form = f"test {said['label']}", said["value"], said["error"], FORMS[said["name"]]
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


def compared_text(record: Any) -> str:
    """Say which network is best on the same events, and how sure that is: a table with one line for each."""
    has_seeds = any(line["spread"] is not None for line in record["board"])
    metric = record["metric"]
    header = ["", metric["label"], "lead of the best", "p (adjusted)", *["spread over seeds"] * has_seeds]
    header += [f"background at {100 * one:g} %" for one in record["signal_efficiencies"]]
    rows = [_of_place(place, line, has_seeds, FORMS[metric["name"]]) for place, line in enumerate(record["board"], 1)]
    seeds = f", each network from {record['seeds']} seeds" if record["seeds"] > 1 else ", each network from one seed"
    said = [f"{record['test_events']:,} test events, the same for all{seeds}", *_table([header, *rows])]
    said += [f"failed: {who}: {problem}" for who, problem in record["failures"].items()]
    return "\n".join([*said, f"page            {record['page']}", f"MLflow run      {record['run_id']}"])


def tuned_text(record: Any) -> str:
    """Say which values are best, and what that is worth."""
    counts, best, declared = record["counts"], record["best"], record["declared"]
    better = f"; as declared {declared:.5f}, which is {record['improvement']:.5f} more" if declared is not None else ""
    if best["is_declared"]:
        better = ", as declared: no other values are better"
    said = [
        f"trials          {counts['complete']} complete, {counts['pruned']} ended early, {counts['failed']} failed",
        f"best            validation loss {best['loss']:.5f} in trial {best['number']}{better}",
        *(f"                {name} = {_shown(value)}" for name, value in best["settings"].items()),
    ]
    if record["importance"]:
        shares = (f"{name} {share:.2f}" for name, share in record["importance"].items())
        said.append(f"importance      {', '.join(shares)}")
    said += [
        f"written         {record['written']}",
        f"study           {record['study']}",
        f"MLflow run      {record['run_id']}",
        f"The loss of the best of {len(record['trials'])} trials is optimistic. No test event was looked at:"
        " `winnow compare` of both files says what the values are worth.",
    ]
    return "\n".join(said)


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value)


def _of_place(place: int, line: Any, has_seeds: bool, form: str) -> list[str]:
    name = f"{place}. {line['name']}" + (" (baseline)" if line["kind"] == "baseline" else "")
    lead = ["best", ""] if place == 1 else [_measured(line["lead"], form), _number(line["adjusted_p_value"], ".2g")]
    spread = ["-" if line["spread"] is None else f"{line['spread']:{form}}"] * has_seeds
    backgrounds = (_measured(one, ".2f", 100) for one in line["backgrounds"])
    return [name, _measured(line["value"], form), *lead, *spread, *backgrounds]


def _measured(found: Any, form: str, times: int = 1) -> str:
    value, error = (_number(found[key] and found[key] * times, form) for key in ("value", "error"))
    return f"{value} ± {error}" + (" %" if times == 100 else "")


def _number(value: float | None, form: str) -> str:
    return "?" if value is None else f"{value:{form}}"


def _table(rows: list[list[str]]) -> list[str]:
    """Return lines whose columns are as wide as they need to be, the first one flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _of_class(found: Any) -> str:
    negative = f", {found['negative_weights']:,} of negative weight" if found["negative_weights"] else ""
    weights = f"sum of weights {found['sum_of_weights']:.6g}, {found['effective_events']:,.1f} effective events"
    return f"{'test ' + found['kind']:<15} {found['events']:,} events{negative}, {weights}"
