"""What the commands print for people."""

from deploy.wording import compared_text


def line(name: str, kind: str, lead: float, spread: float | None) -> dict[str, object]:
    return {
        "name": name,
        "kind": kind,
        "auc": {"value": 0.9 - lead, "error": 0.002},
        "lead": {"value": lead, "error": 0.001},
        "adjusted_p_value": 0.00123,
        "spread": spread,
        "backgrounds": [{"value": 0.125, "error": None}],
    }


RECORD = {
    "board": [line("deep", "network", 0.0, 0.0004), line("trees", "baseline", 0.01, None)],
    "seeds": 3,
    "test_events": 12345,
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
    assert said[3].split()[5:] == ["0.01000", "±", "0.00100", "0.0012", "-", "12.50", "±", "?", "%"]
    assert len({len(one) for one in said[1:4]}) == 1
    assert said[4] == "failed: wide seed 2: the loss is not finite"


def test_with_one_seed_there_is_no_spread_and_the_comparison_says_so():
    record = {**RECORD, "seeds": 1, "board": [line("deep", "network", 0.0, None)]}
    said = compared_text(record).splitlines()
    assert said[0].endswith("each network from one seed")
    assert "spread" not in said[1]
