"""The card of a trained model: its origin, its use with and without this package, and its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neuronspec.artifacts.cards import CITATION, PAPER, escape_code, escape_text, make_front_matter, make_table
from neuronspec.languages import find_language, is_known
from neuronspec.report.added_languages import describe_addition
from neuronspec.report.model_usage import ModelUsage, describe_usage, warn_of_missing_part
from neuronspec.statistics.numbers import show_decimals

if TYPE_CHECKING:
    from neuronspec.methods.add_language.proof import AdditionProof


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """The facts about one training of a model.

    Attributes:
        name: Title of the system that was trained (`fine-tuned`).
        updates: Number of updates.
        published: Update whose weights the model has.
        batch: Largest number of tokens in a batch, in all processes of an update.
        learning_rate: Peak learning rate.
        seed: Seed.
    """

    name: str
    updates: int
    published: int
    batch: int
    learning_rate: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class DirectionScores:
    """The scores of a model in one direction.

    Attributes:
        task: Direction.
        zero_shot: Whether the direction was not trained.
        sentences: Number of test sentences.
        scores: Score by the name of the metric.
    """

    task: str
    zero_shot: bool
    sentences: int
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """The facts on the card of a model.

    Attributes:
        title: Name of the run and of the system.
        about: Sentences about the origin of the model, in Markdown.
        base_model: Name on the hub of the model that it was trained from; empty if it has none.
        tags: Tag of each language in the vocabulary, by the code that the run spells it with; empty for none.
        directions: Directions that were trained.
        unseen: Directions that were tested without training.
        corpora: Names of the corpora.
        sizes: Number of sentence pairs, for each part and pair of languages.
        text_hash: SHA-256 of the prepared text; empty if unknown.
        trainings: The trainings, in order.
        scores: The scores; empty before they are known.
        signatures: Signatures of the metrics.
        usage: Use of the model.
        version: Version of this package.
        addition: Proof that adding languages has changed no other direction; None for most models.
    """

    title: str
    about: Sequence[str]
    base_model: str
    tags: Mapping[str, str]
    directions: Sequence[str]
    unseen: Sequence[str]
    corpora: Sequence[str]
    sizes: Mapping[str, Mapping[str, int]]
    text_hash: str
    trainings: Sequence[TrainingFacts]
    scores: Sequence[DirectionScores]
    signatures: Sequence[str]
    usage: ModelUsage
    version: str
    addition: AdditionProof | None = None


def make_model_card(card: ModelCard) -> str:
    """Return the text of a model's `README.md`, in Markdown with the front matter of the hub."""
    sections = [
        _make_head(card),
        [f"# {escape_text(card.title)}"],
        # What is easily overlooked comes first.
        warn_of_missing_part(card.usage),
        [" ".join(card.about)],
        ["## Use", "", *describe_usage(card.usage)],
        ["## Languages", "", *_describe_languages(card)],
        [] if card.addition is None else ["## Added languages", "", *describe_addition(card.addition)],
        ["## Scores", "", *_describe_scores(card)],
        ["## Data", "", *_describe_data(card)],
        ["## Training", "", *_describe_trainings(card)],
        ["## Cite", "", f"The method: {PAPER}.", "", "```bibtex", CITATION, "```"],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def list_iso_codes(codes: Sequence[str]) -> list[str]:
    """Return the ISO 639 codes of languages, each once; codes of your own are left out.

    Example:
        >>> list_iso_codes(["deu_Latn", "pt-BR", "zh_Hans", "zh_Hant", "xx1"])
        ['de', 'pt', 'zh']
    """
    known = [find_language(code).code.replace("_", "-") for code in codes if is_known(code)]
    return list(dict.fromkeys(code.partition("-")[0].lower() for code in known))


def _make_head(card: ModelCard) -> list[str]:
    # A model that plain transformers loads in part only is found under the library that loads it whole.
    library = "transformers" if card.usage.part is None else "neuronspec"
    return make_front_matter(
        {
            "language": list_iso_codes(list(card.tags)),
            "library_name": library,
            "pipeline_tag": "translation",
            "base_model": card.base_model,
            "tags": ["neuronspec", "translation"],
        }
    )


def _describe_languages(card: ModelCard) -> list[str]:
    header = ["language", "code", "tag"]
    rows = [
        [escape_text(find_language(code).name), escape_code(code), escape_code(tag) if tag else ""]
        for code, tag in card.tags.items()
    ]

    lines = [*make_table(header, rows), "", f"Trained directions: {_list_tasks(card.directions)}."]
    if card.unseen:
        lines += ["", f"Tested without training (zero-shot): {_list_tasks(card.unseen)}."]
    return lines


def _describe_scores(card: ModelCard) -> list[str]:
    if not card.scores:
        return ["This model has not been scored yet."]

    metrics = list(dict.fromkeys(metric for row in card.scores for metric in row.scores))
    rows = []
    for row in card.scores:
        task = escape_code(row.task) + (" (zero-shot)" if row.zero_shot else "")
        values = (show_decimals(row.scores[metric]) if metric in row.scores else "" for metric in metrics)
        rows.append([task, f"{row.sentences:,}", *values])

    header = ["direction", "sentences", *map(escape_text, metrics)]
    signatures = [f"- {signature}" for signature in card.signatures]
    return [*make_table(header, rows), "", "Signatures:", "", *signatures]


def _describe_data(card: ModelCard) -> list[str]:
    parts = list(card.sizes)
    pairs = dict.fromkeys(pair for part in parts for pair in card.sizes[part])
    rows = [[escape_code(pair), *(f"{card.sizes[part].get(pair, 0):,}" for part in parts)] for pair in pairs]

    lines = ["Sentence pairs:", "", *make_table(["languages", *parts], rows)]
    if card.corpora:
        lines += ["", f"Corpora: {', '.join(map(escape_code, card.corpora))}."]
    if card.text_hash:
        lines += ["", f"SHA-256 of the prepared text: {escape_code(card.text_hash)}"]
    return lines


def _describe_trainings(card: ModelCard) -> list[str]:
    if not card.trainings:
        return ["Nothing was trained."]

    header = ["", "updates", "weights of update", "tokens per update", "learning rate", "seed"]
    rows = [
        [
            escape_text(one.name),
            f"{one.updates:,}",
            f"{one.published:,}",
            f"{one.batch:,}",
            f"{one.learning_rate:g}",
            str(one.seed),
        ]
        for one in card.trainings
    ]
    return [*make_table(header, rows), "", f"Trained with neuronspec {card.version}."]


def _list_tasks(tasks: Sequence[str]) -> str:
    return ", ".join(map(escape_code, tasks))
