"""A small study with translations: two systems in two directions, with odd characters and every way to be broken."""

from __future__ import annotations

from functools import cache

from neuronspec.comparison.study import Study, make_study
from neuronspec.evaluation.metric import Metric
from neuronspec.evaluation.metrics import METRICS
from neuronspec.evaluation.results import merge_results
from neuronspec.evaluation.scoring import score_task

LONG = "The committee will meet again next week to discuss the proposal"
GERMAN = "Der Ausschuss wird nächste Woche wieder über diesen Vorschlag sprechen"
ODD = (
    "a tab\tand <b>markup</b> &amp; </script><script>window.hacked=1</script>",
    "a line\u2028separator, \x85 and a \u202ereversed\u202c word",
    "<img src=x onerror=window.hacked=1> \\u0041 {{script}}",
    '"quotes" and \\ slashes \x00 and half a pair \ud83d',
)
ARABIC = "ستجتمع اللجنة مرة أخرى الأسبوع المقبل لمناقشة الاقتراح الجديد"
REFERENCES = {
    "de-en": (LONG, "Good morning, old cat", "A dog sees the old cat", "A man sees the old cat", *ODD),
    "en-ar": (ARABIC, "صباح الخير", f"{ARABIC} و{ARABIC}"),
}
SOURCES = {
    "de-en": (GERMAN, "Guten Morgen, alte Katze", "Ein Hund sieht die Katze", "Ein Mann sieht die Katze", *ODD),
    "en-ar": (LONG, "Good morning", f"{LONG} and {LONG}"),
}
BASELINE = {
    "de-en": (GERMAN, "", "A dog sees the new cat", "A man sees the new cat", *(text[::-1] for text in ODD)),
    "en-ar": (LONG, "صباح " * 12, ARABIC),
}
SYSTEM = {
    "de-en": (LONG, "Guten Morgen, alte Katze", "A dog sees the old cat", "A man sees the old cat", *ODD),
    "en-ar": (ARABIC, "صباح الخير يا صديقي العزيز جدا وإلى اللقاء", ARABIC),
}


@cache
def build_study(*metrics: str) -> Study:
    """Return the study, scored by chrF++ if no metric is named."""
    chosen: list[Metric] = [METRICS[name] for name in metrics or ("chrf",)]
    parts = []
    for name, texts in (("base", BASELINE), ("ours", SYSTEM)):
        for task, hypotheses in texts.items():
            part = score_task(name, task, hypotheses, REFERENCES[task], chosen, sources=SOURCES[task])
            parts.append(part)
    return make_study(merge_results(parts), "base")
