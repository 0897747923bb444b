"""What can be known before any event is read."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.errors import DataError, MissingColumnError
from pipeline.plan import DataSpec, SampleFile, plan_files, shared_files
from pipeline.sources import iter_chunks

SAMPLES = [
    {"name": "muons", "label": "signal", "files": ["muons*.csv"], "weight": "w"},
    {"name": "pions", "label": "background", "files": ["pions.csv"]},
]


def planned(folder: Path, **sections: Any) -> list[SampleFile]:
    for name in ("muons_2.csv", "muons_1.csv", "pions.csv"):
        (folder / name).write_text("event,pt,eta,w,extra\n1,2.5,0.1,1.0,7\n")
    document = {"samples": SAMPLES, "features": {"inputs": ["pt"]}, **sections}
    return list(plan_files(DataSpec.model_validate(document), folder))


def test_files_are_planned_sample_by_sample_in_the_order_of_their_names(tmp_path: Path) -> None:
    files = planned(tmp_path)
    assert [(f.sample.name, f.index, f.path.name, f.n_events) for f in files] == [
        ("muons", 0, "muons_1.csv", 1),
        ("muons", 0, "muons_2.csv", 1),
        ("pions", 1, "pions.csv", 1),
    ]


def test_only_what_somebody_needs_is_read(tmp_path: Path) -> None:
    sections = {
        "derive": {"twice": "2 * eta"},
        "select": [{"name": "a", "keep": "twice > 0"}],
        "split": {"by": ["event"]},
    }
    muons, _, pions = planned(tmp_path, **sections)
    assert muons.needed == {"pt", "eta", "event", "w"}
    assert pions.needed == {"pt", "eta", "event"}
    assert muons.features_need == {"pt"}


@pytest.mark.parametrize(
    ("sections", "role"),
    [
        ({"features": {"inputs": ["w"]}}, "'w', which makes a weight"),
        (
            {"features": {"collections": {"one": {"inputs": ["pt"], "order": "eta / w", "length": 1}}}},
            "'w', which makes a weight",
        ),
        ({"features": {"images": {"one": {"pixels": ["w"], "shape": [1]}}}}, "'w', which makes a weight"),
        ({"derive": {"v": "w * 2"}, "features": {"inputs": ["v"]}}, "'w', which makes a weight"),
        ({"split": {"by": ["pt"]}}, "'pt', which makes the identity of an event"),
        (
            {"columns": {"pt": {"kind": "id"}}, "derive": {"v": "pt / 2"}, "features": {"inputs": ["v"]}},
            "'pt', which makes the identity of an event",
        ),
    ],
)
def test_an_input_that_tells_the_answer_is_refused_unless_allowed(
    tmp_path: Path, sections: dict[str, Any], role: str
) -> None:
    with pytest.raises(DataError, match=f"an input needs column {role}.*write .features. allow"):
        planned(tmp_path, **sections)
    features = {"inputs": ["pt"], **sections.get("features", {}), "allow": ["w", "pt"]}
    assert planned(tmp_path, **{**sections, "features": features})


@pytest.mark.parametrize("label", ["signal", "background"])
def test_a_file_in_two_samples_is_refused(tmp_path: Path, label: str) -> None:
    samples = [SAMPLES[1], {"name": "muons", "label": label, "files": ["*.csv"]}, {**SAMPLES[0], "name": "others"}]
    with pytest.raises(DataError, match=r"pions.csv is in the samples 'pions' and 'muons': its events would count"):
        planned(tmp_path, samples=samples)


def test_trees_of_one_file_may_be_different_samples(tmp_path: Path) -> None:
    samples = [{**sample, "files": ["both.root"], "tree": sample["name"]} for sample in SAMPLES]
    spec = DataSpec.model_validate({"samples": samples, "features": {"inputs": ["pt"]}})
    assert not shared_files(spec, {sample["name"]: [tmp_path / "both.root"] for sample in SAMPLES})


def test_a_label_column_is_no_input(tmp_path: Path) -> None:
    label = {"column": "extra", "signal": 7, "background": 8}
    samples = [{"name": "both", "label": label, "files": ["pions.csv"]}]
    with pytest.raises(DataError, match="'extra', which makes the label"):
        planned(tmp_path, samples=samples, features={"inputs": ["extra"]})


@pytest.mark.parametrize(
    "sections",
    [
        {"features": {"inputs": ["ptt"]}},
        {"select": [{"name": "a", "keep": "ptt > 1"}]},
        {"split": {"by": ["ptt"]}},
        {"columns": {"ptt": {"min": 0}}},
        {"derive": {"x": "ptt * 2"}, "features": {"inputs": ["x"]}},
    ],
)
def test_a_column_that_is_not_there_is_found_when_it_is_asked_for(tmp_path: Path, sections: dict[str, Any]) -> None:
    with pytest.raises(MissingColumnError, match=r"no column 'ptt'.*did you mean 'pt'"):
        [list(iter_chunks(file.path, file.needed)) for file in planned(tmp_path, **sections)]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"samples": SAMPLES[:1]}, "one class only: signal"),
        ({"samples": [SAMPLES[0], SAMPLES[0]]}, "two samples are called 'muons'"),
        ({"select": [{"name": "a", "keep": "pt"}] * 2}, "two cuts are called 'a'"),
        ({"select": [{"name": "read", "keep": "pt"}]}, "no cut can be called 'read'"),
        ({"select": [{"name": "a", "keep": "pt >"}]}, "no expression"),
        ({"derive": {"x": "a / / b"}}, "x = 'a / / b'.*no expression"),
        ({"columns": {"pt": {"kind": "id"}}}, "'pt' is declared as an id; ids are no features"),
        (
            {"columns": {"n": {"kind": "id"}}, "features": {"collections": {"a": {"inputs": ["n"], "length": 1}}}},
            "'n' is declared as an id; ids are no features",
        ),
        (
            {"normalise": {"clip": 0.5}, "features": {"collections": {"a": {"inputs": ["x"], "length": 1}}}},
            "received 0.5; with collections at least 1 is needed",
        ),
    ],
)
def test_sections_that_do_not_fit_together_are_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataSpec.model_validate({"samples": SAMPLES, "features": {"inputs": ["pt"]}, **sections})


def test_a_derived_column_that_nobody_uses_needs_nothing(tmp_path: Path) -> None:
    derive = {"unused": "extra * 2", "also_unused": "cos(unused)", "used": "2 * eta"}
    muons, *_ = planned(tmp_path, derive=derive, features={"inputs": ["pt", "used"]}, split={"by": ["event"]})
    assert muons.needed == {"pt", "eta", "event", "w"}
    assert muons.derived == {"used"}
