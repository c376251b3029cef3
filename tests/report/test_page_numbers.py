"""What a page begins with: numbers and sentences, and the scores of every direction."""

from __future__ import annotations

from tests.comparison.test_study import GOOD, TASKS, WORSE, make_results, study

from neuronspec.report.finding import Finding, choose_highlights
from neuronspec.report.page_numbers import PageNumber, make_score_numbers
from neuronspec.report.score_panel import MAX_SYSTEMS, make_score_panel


def test_numbers_are_a_mean_a_gain_with_its_interval_and_outcomes() -> None:
    results = make_results({"base": WORSE, "tuned": GOOD, "ours": GOOD})
    found = study(results, pairs=[("base", "tuned"), ("tuned", "ours")])
    base = results.score("base", "BLEU", TASKS[:4])
    assert make_score_numbers(found, "ours", "tuned", "base") == [
        PageNumber("100.0", "mean BLEU, ours", f"base {base:.1f}, tuned 100.0"),
        PageNumber("0.0", "BLEU over tuned", "95 % interval 0.0 to 0.0, p = 1"),
        PageNumber("0 of 5", "directions better than tuned", "significantly: 0 better, 0 worse"),
    ]
    assert make_score_numbers(found, "tuned", "base")[2].value == "5 of 5"
    assert len(make_score_numbers(found, "base", "base")) == 1


def test_the_panel_has_means_first_and_no_more_systems_than_one_can_tell_apart() -> None:
    names = [f"system{number}" for number in range(7)]
    found = study(make_results(dict.fromkeys(names, WORSE)), baseline="system0", pairs=[])
    panel = make_score_panel(found, names)
    assert len(panel["systems"]) == MAX_SYSTEMS
    assert panel["systems"][0] == "system0"
    assert panel["systems"][-1] == "system6"
    assert panel["note"].endswith("The tables show 2 more.")
    assert [row["label"] for row in panel["rows"]] == ["mean from en", "mean to en", *TASKS]
    assert panel["rows"][0]["scores"]["BLEU"][0][1:] == panel["rows"][0]["scores"]["BLEU"][1][1:]  # the same samples


def test_highlights_are_one_of_each_rank_and_the_later_stack_wins() -> None:
    ranked = [(3, "encoder overlap"), (1, "encoder harm"), (0, "trend"), (3, "decoder overlap"), (1, "decoder harm")]
    found = [Finding("finding", text, rank=rank) for rank, text in [*ranked, (2, "families"), (4, "sparsity")]]
    assert [one.text for one in choose_highlights(found)] == ["decoder harm", "families", "decoder overlap"]
    assert choose_highlights([Finding("finding", "a")]) == []
