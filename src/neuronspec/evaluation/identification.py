"""Identification of the language of a text, where it is possible (see `neuronspec.evaluation.quality.assess`)."""

from __future__ import annotations

import functools
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.identifiers import DEFAULT_IDENTIFIER, IDENTIFIERS, Identify, RankLabels, open_identifier
from neuronspec.languages import Language, match_language
from neuronspec.libraries import import_library

# A sentence with fewer letters is not identified (see `assess`).
MIN_LETTERS = 40

# Off-target is unknown if more than this share of the references is called another language. What counts is the
# lower end of an interval of this confidence, because one odd reference among few shows nothing.
MAX_REFERENCE_ERROR, CONFIDENCE = 0.2, 0.95
NO_LANGUAGE = ("zxx", "und")  # labels of numbers and markup: ISO 639 has codes for "none" and "unknown"
# A smaller share that is still mentioned in a note.
NOTED_REFERENCE_ERROR = 0.05

# The labels that count as a language, if it is not simply py3langid's label of the same code. Labels that py3langid
# cannot distinguish, or which are one written language, are listed together. `hbs` is Croatian, Bosnian and
# Serbian in Latin script; `sr` remains for Cyrillic; `sd` and `ti` are ours (see `_OWN_LETTERS`).
_ACCEPTED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("ar", "acm", "acq", "aeb", "ajp", "apc", "ars", "ary", "arz"), ("ar", "ary", "arz")),
    **dict.fromkeys(("zh", "zh-Hant", "yue"), ("zh", "yue", "wuu")),
    **dict.fromkeys(("hr", "bs", "sh", "sr-Latn"), ("hbs",)),
    "sr": ("sr", "hbs"),
    **dict.fromkeys(("nb", "nn"), ("no", "nn")),
    **dict.fromkeys(("id", "ms"), ("id", "ms")),
    **dict.fromkeys(("fa", "prs"), ("fa",)),
    "pt-BR": ("pt",),
    "ff": ("fuv",),
    "gn": ("gug",),
    "ki": ("kik",),
    "sd": ("sd",),
    "ti": ("ti",),
}
_NOTES: Mapping[tuple[str, ...], str] = {
    ("ar", "ary", "arz"): "the Arabic varieties are not told apart",
    ("zh", "yue", "wuu"): "Chinese in its varieties and both its scripts is not told apart",
    ("hbs",): "Bosnian, Croatian and Serbian in Latin script are not told apart",
    (
        "sr",
        "hbs",
    ): "Serbian may be in either script, and in Latin script it is not told apart from Bosnian and Croatian",
    ("no", "nn"): "Bokmål and Nynorsk are not told apart",
    ("id", "ms"): "Indonesian and Malay are not told apart",
    ("fa",): "Persian and Dari are not told apart",
}

# Letters that identify a language unknown to py3langid, because its neighbors lack them: py3langid calls Sindhi Pashto
# or Arabic, and Tigrinya Amharic.
_OWN_LETTERS: Mapping[str, re.Pattern[str]] = {
    "sd": re.compile("[ٻڀٺٿڦڄڃڇڊڌڏڍڳڱڻ۽۾ڪ]"),
    "ti": re.compile("[ኣሓቐ-ቝኾኽኸዀ-ዅ]"),
}
# Scripts without any language that py3langid knows.
_SCRIPTS: Mapping[str, re.Pattern[str]] = {
    "Olck": re.compile("[\u1c50-\u1c7f]"),
    "Tfng": re.compile("[\u2d30-\u2d7f]"),
}
# Characters to count: Cyrillic; letters of any script; and those that stand for a syllable or more (kana, Chinese
# characters, Hangul).
_CYRILLIC = re.compile("[\u0400-\u04ff]")
_WORD = re.compile(r"[^\W\d_]")
_SYLLABLE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]")


def choose_identifier(
    language: Language, identifier: str = DEFAULT_IDENTIFIER
) -> tuple[Identify | None, tuple[str, ...], str]:
    """Return the function that identifies a language, the labels that count as it, and a note.

    Args:
        language: Language that texts should be in.
        identifier: Name of the identifier, in `IDENTIFIERS`.

    Returns:
        The function, or None if the language cannot be identified; the labels; the note, which may be empty.

    Raises:
        NeuronspecError: If there is no such identifier, or its library is needed and not installed.
    """
    if identifier != DEFAULT_IDENTIFIER:
        return _choose_labels(language, identifier)

    # A script that decides alone needs no py3langid.
    if language.script in _SCRIPTS:
        note = f"any text in the script of {language.name} counts, for py3langid does not know the language"
        return functools.partial(_identify_script, language.script), (language.script,), note

    identify, labels = _load_identifier()

    # The labels that count: of our table, or else the one with the same code.
    row = match_language(language.code, _ACCEPTED)
    accepted = _ACCEPTED[row] if row else (match_language(language.code, labels) or language.code,)

    # What py3langid lacks is identified by its own letters, or not at all; `hbs` is our label, not py3langid's.
    if row in _OWN_LETTERS:
        return identify, accepted, f"py3langid does not know {language.name}, so its own letters identify it"
    if not {*labels, "hbs"}.issuperset(accepted):
        return None, (), f"py3langid does not know {language.name}, and its script does not decide"
    return identify, accepted, _NOTES.get(accepted, "")


def _choose_labels(language: Language, identifier: str) -> tuple[Identify | None, tuple[str, ...], str]:
    """Return what `choose_identifier` does, for an identifier whose labels are language codes."""
    identify, labels = open_identifier(identifier)
    accepts = IDENTIFIERS[identifier].accepts

    # The labels that the identifier names for the language, or else the one with the same code
    row = match_language(language.code, accepts)
    if row is not None:
        return identify, tuple(accepts[row]), ""
    label = match_language(language.code, labels)
    if label is None:
        return None, (), f"{identifier} does not know {language.name}"
    return identify, (label,), ""


def identify_label(text: str) -> str:
    """Return the label of the language that a text is in: py3langid's, or one of ours (`hbs`, `sr`, `sd`, `ti`).

    Raises:
        NeuronspecError: If py3langid is not installed.
    """
    identify, _ = _load_identifier()
    return identify(text)


def _identify_script(script: str, text: str) -> str:
    """Return the script if most of the letters of a text are in it, else an empty string."""
    own = len(_SCRIPTS[script].findall(text))
    return script if 2 * own > _count_letters(text) else ""


def load_py3langid() -> tuple[Identify, tuple[str, ...]]:
    """Return a function from a sentence to a label, and the labels of py3langid and ours."""
    return _load_identifier()


@functools.cache
def _load_identifier() -> tuple[Identify, tuple[str, ...]]:
    """Return a function from a sentence to a label, and py3langid's labels.

    The identifier is a copy of our own, because others may restrict the languages of the shared one.
    """
    identifier = _open_model()

    @functools.lru_cache(maxsize=2**16)  # the references are the same for every system
    def identify(text: str) -> str:
        # Letters of a language that py3langid lacks come first: it would answer with a neighbor.
        for own, letters in _OWN_LETTERS.items():
            if letters.search(text):
                return own

        return _merge_label(str(identifier.classify(text)[0]), text)

    return identify, tuple(identifier.labels)


@functools.cache
def load_ranking() -> RankLabels:
    """Return a function from a text to the probabilities of its labels, the likeliest first."""
    identifier = _open_model(norm_probs=True)

    def rank(text: str) -> dict[str, float]:
        for own, letters in _OWN_LETTERS.items():
            if letters.search(text):
                return {own: 1.0}

        # Labels that count as one add up.
        merged: dict[str, float] = defaultdict(float)
        for label, chance in identifier.rank(text):
            merged[_merge_label(str(label), text)] += float(chance)
        return dict(sorted(merged.items(), key=lambda entry: -entry[1]))

    return rank


def _open_model(**options: Any) -> Any:
    """Return a copy of py3langid's model.

    Raises:
        NeuronspecError: If py3langid is not installed in a version that has it.
    """
    requirement = "py3langid>=0.4"
    module = import_library("py3langid.langid", "identifying languages", requirement=requirement)
    try:
        return module.LanguageIdentifier.from_model_file(module.MODEL_FILE, **options)
    except AttributeError as error:
        raise NeuronspecError(
            f"identifying languages needs another version of py3langid than is installed: pip install '{requirement}'"
        ) from error


def _merge_label(label: str, text: str) -> str:
    """Return our label for one of py3langid's."""
    # Bosnian, Croatian and Serbian count as one in Latin script; only the script sets Serbian apart.
    if label in ("bs", "hr", "sr"):
        return "sr" if 2 * len(_CYRILLIC.findall(text)) > _count_letters(text) else "hbs"
    return label


@dataclass(frozen=True)
class LanguageCounts:
    """The number of texts that were long enough to judge, and of those in another language.

    Attributes:
        judged: Number of texts that were judged.
        foreign: Number of these that are in another language.
    """

    judged: int = 0
    foreign: int = 0

    @property
    def share(self) -> float | None:
        """The share in another language; None if no text was judged."""
        return self.foreign / self.judged if self.judged else None

    @property
    def lower_bound(self) -> float:
        """The lower end of Wilson's interval of the share; 0 if no text was judged."""
        if not self.judged:
            return 0.0
        z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
        n, share = self.judged, self.foreign / self.judged
        # Wilson, 1927.
        center = share + z * z / (2 * n)
        half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return max(0.0, (center - half) / (1 + z * z / n))


def judge_each(texts: Sequence[str], identify: Identify, accepted: tuple[str, ...]) -> list[bool | None]:
    """Return for each text whether it is in another language; None where that was not judged.

    Args:
        texts: Sentences; short ones are not judged.
        identify: Function from a text to the label of its language.
        accepted: Labels that count as the language they should be in.
    """
    verdicts: list[bool | None] = []
    for text in texts:
        label = identify(text) if _count_letters(text) >= MIN_LETTERS else NO_LANGUAGE[0]
        verdicts.append(None if label in NO_LANGUAGE else label not in accepted)
    return verdicts


def count_verdicts(verdicts: Sequence[bool | None]) -> LanguageCounts:
    """Return how many texts were judged, and how many of those are in another language."""
    judged = [verdict for verdict in verdicts if verdict is not None]
    return LanguageCounts(len(judged), sum(judged))


def judge(texts: Sequence[str], identify: Identify, accepted: tuple[str, ...]) -> LanguageCounts:
    """Count the texts in another language; see `judge_each`."""
    return count_verdicts(judge_each(texts, identify, accepted))


def add_notes(
    note: str, off_target: LanguageCounts, of_references: LanguageCounts, identifier: str = DEFAULT_IDENTIFIER
) -> str:
    """Return the note about the shares: why they are unknown, or what limits them.

    Args:
        note: Note about the language, which may be empty.
        off_target: Counts of the hypotheses.
        of_references: Counts of the references.
        identifier: Name of the identifier.
    """
    # Nothing was judged, or nothing checks the judgment.
    if off_target.share is None:
        return f"no hypothesis has the {MIN_LETTERS} letters that identification needs"

    if of_references.share is None:
        check = f"no reference has the {MIN_LETTERS} letters that would check {identifier} on this language"
        return "; ".join(filter(None, [note, check]))

    # Bad references explain why; somewhat bad ones limit what the share means.
    called = f"{identifier} calls {100 * of_references.share:.0f} % of the references another language, too"
    if of_references.lower_bound > MAX_REFERENCE_ERROR:
        return called
    if of_references.share > NOTED_REFERENCE_ERROR:
        return "; ".join(filter(None, [note, f"{called}: only what exceeds that is the system's"]))
    return note


def _count_letters(text: str) -> int:
    # A syllable or Chinese character is a letter, too, so it counts three times in all.
    return len(_WORD.findall(text)) + 2 * len(_SYLLABLE.findall(text))
