"""The parts of a report's payload: what a page can be given, each described once."""

from __future__ import annotations

REQUIRED = ("title", "summary", "panels", "layers")
"""Parts that every page has; the page cannot start without them."""

PARTS = {
    # The page itself
    "title": "title of the report",
    "subtitle": "a few sentences under the title",
    "version": "name and version of the program",
    "missing": "part -> why it could not be measured, shown in its place (below the heat map if it has no section)",
    "numbers": '[{"value", "label", "note"}]: up to four numbers that the page begins with, as texts',
    "highlights": "the sentences of `summary` that the page begins with, in the same form",
    "summary": '[{"kind": "finding" | "caveat", "text"}]',
    # Systems and their scores
    "scores": (
        '{"metrics" [{"name", "higher"}], "systems" (titles, the first is where the others started), "colors" '
        '[{"light", "dark"} of each system], "rows" [{"label", "group", "directions", "scores" {metric -> [[score, '
        'low, high] of each system, or None]}}], "note"}'
    ),
    # What is compared, layer by layer; matrices are the pairs above the diagonal, row by row
    "panels": 'stack -> {"title", "tasks", "labels", "names", "families", "scripts"}',
    "family_colors": 'family -> {"light", "dark", "hatch"}: its color on light and dark pages, and white lines on it',
    "layers": '[{"name", "stack", "width"}]',
    "ks": "the values of k that overlaps exist for, as texts",
    "k": "the chosen one of `ks`",
    "iou": "layer -> k -> `pack_fractions` of the IoU",
    "low": "layer -> `pack_fractions` of the lower end of the interval, for the chosen k",
    "high": "layer -> `pack_fractions` of the upper end",
    "z_chance": "layer -> `pack_floats` of z compared with random sets of the same sizes",
    "z_shuffled": "layer -> `pack_floats` of z compared with shuffled sentences",
    "trees": 'layer -> {"order", "merges", "newick", "cophenetic"}',
    "progression": 'layer -> {"mean", "median", "q1", "q3", "low", "high"}: low and high end the whiskers',
    "sparsity": 'layer -> {"tasks", "values"}',
    "ablation": 'stack -> {"texts", "switched", "changes" (texts x switched), "metric", "note"}',
    # Sentences: counts are of all of them, the deflated ones those that the page shows (see `report.translations`)
    "translations": '{"metric", "systems", "pairs", "directions", "kinds", "broken", "edges", "gains", "words", '
    '"choice", "file", "packed"}',
    # Numbers and neurons to look up
    "tables": "name -> tables: each a `Table`, or the rows that `Table.to_json` returns",
    "cards": '{"sentences", "languages", "neurons"}',
    "curves": (
        '{"tasks", "colors" (system -> {"light", "dark"}), "trainings" [{"name", "systems" [{"system", "updates", '
        '"losses", "learning_rates", "validations", "valid_loss", "valid_losses" {task -> [..]}, "speeds"}]}]}'
    ),
    "figures": (
        '[{"title", "alt", "svg", "files"}]: the SVG is part of the page; `files` maps names of formats to paths '
        "relative to the page"
    ),
    # How it was done
    "methods": "sentences about how the numbers were measured",
    "signature": "what the numbers of another run must agree in: name -> value",
    "citation": "how to cite",
}
"""Parts of the payload -> what they hold, in plain JSON values. A part that is absent or None is not shown."""
