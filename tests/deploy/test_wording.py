"""What the commands print for people."""

from deploy.wording import compared_text, tuned_text


def line(name: str, kind: str, lead: float, spread: float | None) -> dict[str, object]:
    return {
        "name": name,
        "kind": kind,
        "value": {"value": 0.9 - lead, "error": 0.002},
        "lead": {"value": lead, "error": 0.001},
        "adjusted_p_value": 0.00123,
        "spread": spread,
        "backgrounds": [{"value": 0.125, "error": None}],
    }


RECORD = {
    "board": [line("deep", "network", 0.0, 0.0004), line("trees", "baseline", 0.01, None)],
    "seeds": 3,
    "test_events": 12345,
    "metric": {"name": "auc", "label": "AUC"},
    "signal_efficiencies": [0.5],
    "failures": {"wide seed 2": "the loss is not finite"},
    "page": "out/comparison.html",
    "run_id": "ab12",
}


def test_a_comparison_is_a_table_whose_columns_are_aligned():
    said = compared_text(RECORD).splitlines()
    assert said[0] == "12,345 test events, the same for all, each network from 3 seeds"
    assert said[1].split("  ")[-1] == "background at 50 %"
    assert " ".join(said[2].split()) == "1. deep 0.90000 ± 0.00200 best 0.00040 12.50 ± ? %"
    assert said[3].split()[6:] == ["0.01000", "±", "0.00100", "0.0012", "-", "12.50", "±", "?", "%"]
    assert len({len(one) for one in said[1:4]}) == 1
    assert said[4] == "failed: wide seed 2: the loss is not finite"


def test_with_one_seed_there_is_no_spread_and_the_comparison_says_so():
    record = {**RECORD, "seeds": 1, "board": [line("deep", "network", 0.0, None)]}
    said = compared_text(record).splitlines()
    assert said[0].endswith("each network from one seed")
    assert "spread" not in said[1]


TUNED = {
    "counts": {"complete": 5, "pruned": 2, "failed": 1},
    "best": {
        "number": 4,
        "loss": 0.41234,
        "is_declared": False,
        "settings": {"training.batch_size": 256, "a.b": [8, 8]},
    },
    "declared": 0.42,
    "improvement": 0.00766,
    "importance": {"training.batch_size": 0.75, "a.b": 0.25},
    "trials": [{}] * 8,
    "written": "x-tuned.toml",
    "study": "study.db",
    "run_id": "ab12",
}


def test_a_search_says_what_is_best_by_how_much_and_that_this_flatters():
    said = tuned_text(TUNED).splitlines()
    assert said[:5] == [
        "trials          5 complete, 2 ended early, 1 failed",
        "best            validation loss 0.41234 in trial 4; as declared 0.42000, which is 0.00766 more",
        "                training.batch_size = 256",
        "                a.b = [8, 8]",
        "importance      training.batch_size 0.75, a.b 0.25",
    ]
    assert said[-1].startswith("The loss of the best of 8 trials is optimistic. No test event was looked at")


def test_where_nothing_is_better_than_what_was_declared_a_search_says_so():
    best = {**TUNED["best"], "is_declared": True}
    assert (
        tuned_text({**TUNED, "best": best})
        .splitlines()[1]
        .endswith("in trial 4, as declared: no other values are better")
    )
