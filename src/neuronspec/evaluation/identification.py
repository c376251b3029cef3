"""Which language a text is in, and whether that can be told at all (see `neuronspec.evaluation.quality.assess`)."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from neuronspec.errors import NeuronspecError
from neuronspec.languages import Language, match_language
from neuronspec.libraries import import_library

Identify = Callable[[str], str]
"""What returns the label of the language that a text is in."""

# A sentence with fewer letters is not identified (see `assess`).
MIN_LETTERS = 40

# Off-target cannot be told where more than this share of the references is called another language, surely so: by
# the lower end of an interval of this confidence, for one odd reference among few shows nothing. Below it, a share that
# is still worth a caution.
MAX_REFERENCE_ERROR, CONFIDENCE, CAUTION = 0.2, 0.95, 0.05

# What counts as the language of the row where it is not simply py3langid's label of the same code. Labels that
# py3langid cannot keep apart, or which are one written language, stand together. `hbs` is Croatian, Bosnian and
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
    ("sr", "hbs"): "Serbian may be in either script, and in Latin script it is not told from Bosnian and Croatian",
    ("no", "nn"): "Bokmål and Nynorsk are not told apart",
    ("id", "ms"): "Indonesian and Malay are not told apart",
    ("fa",): "Persian and Dari are not told apart",
}

# Letters that a language unknown to py3langid has and its neighbours lack: one makes a sentence Sindhi or
# Tigrinya, which py3langid calls Pashto or Arabic, and Amharic.
_OWN_LETTERS: Mapping[str, re.Pattern[str]] = {
    "sd": re.compile("[ٻڀٺٿڦڄڃڇڊڌڏڍڳڱڻ۽۾ڪ]"),
    "ti": re.compile("[ኣሓቐ-ቝኾኽኸዀ-ዅ]"),
}
# Scripts of languages of which py3langid knows none.
_SCRIPTS: Mapping[str, re.Pattern[str]] = {
    "Olck": re.compile("[\u1c50-\u1c7f]"),
    "Tfng": re.compile("[\u2d30-\u2d7f]"),
}
_CYRILLIC = re.compile("[\u0400-\u04ff]")
_WORD = re.compile(r"[^\W\d_]")
_SYLLABLE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]")


def choose_identifier(language: Language) -> tuple[Identify | None, tuple[str, ...], str]:
    """Return what identifies the language, the labels that count as it, and a note; None where nothing can."""
    if language.script in _SCRIPTS:
        pattern, script = _SCRIPTS[language.script], language.script
        note = f"any text in the script of {language.name} counts, for py3langid does not know the language"
        return lambda text: script if 2 * len(pattern.findall(text)) > _count_letters(text) else "", (script,), note
    identify, labels = _load_identifier()
    row = match_language(language.code, _ACCEPTED)
    accepted = _ACCEPTED[row] if row else (match_language(language.code, labels) or language.code,)
    if row in _OWN_LETTERS:
        return identify, accepted, f"py3langid does not know {language.name}, so its own letters identify it"
    if not {*labels, "hbs"}.issuperset(accepted):
        return None, (), f"py3langid does not know {language.name}, and its script does not decide"
    return identify, accepted, _NOTES.get(accepted, "")


@functools.cache
def _load_identifier() -> tuple[Identify, tuple[str, ...]]:
    """Return a function from a sentence to a label, and py3langid's labels; an own copy, never restricted."""
    requirement = "py3langid>=0.4"
    module = import_library("py3langid.langid", "identifying languages", requirement=requirement)
    try:
        identifier = module.LanguageIdentifier.from_model_file(module.MODEL_FILE)
    except AttributeError as error:
        raise NeuronspecError(
            f"identifying languages needs another version of py3langid than is installed: pip install '{requirement}'"
        ) from error

    @functools.lru_cache(maxsize=2**16)  # the references are the same for every system
    def identify(text: str) -> str:
        for own, letters in _OWN_LETTERS.items():
            if letters.search(text):
                return own
        label = str(identifier.classify(text)[0])
        if label in ("bs", "hr", "sr"):
            return "sr" if 2 * len(_CYRILLIC.findall(text)) > _count_letters(text) else "hbs"
        return label

    return identify, tuple(identifier.labels)


@dataclass(frozen=True)
class Judged:
    """How many texts were long enough to judge, and how many of those are in another language.

    Attributes:
        judged: Number of texts that were judged.
        foreign: Number of these that are in another language.
    """

    judged: int = 0
    foreign: int = 0

    @property
    def share(self) -> float | None:
        """The share in another language; None without a text to judge."""
        return self.foreign / self.judged if self.judged else None

    @property
    def surely(self) -> float:
        """The lower end of Wilson's interval of the share; 0 without a text to judge."""
        if not self.judged:
            return 0.0
        z, n, share = NormalDist().inv_cdf((1 + CONFIDENCE) / 2), self.judged, self.foreign / self.judged
        center = share + z * z / (2 * n)
        half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return max(0.0, (center - half) / (1 + z * z / n))


def judge(texts: Sequence[str], identify: Identify, accepted: tuple[str, ...]) -> Judged:
    """Count the texts in another language."""
    labels = [identify(text) for text in texts if _count_letters(text) >= MIN_LETTERS]
    labels = [label for label in labels if label != "zxx"]  # "not a language": numbers, markup
    return Judged(len(labels), sum(label not in accepted for label in labels))


def add_notes(note: str, off_target: Judged, of_references: Judged) -> str:
    """Return what to know of the shares: why they cannot be told, or what to be cautious of."""
    if off_target.share is None:
        return f"no hypothesis has the {MIN_LETTERS} letters that identification needs"

    if of_references.share is None:
        check = f"no reference has the {MIN_LETTERS} letters that would check py3langid on this language"
        return "; ".join(filter(None, [note, check]))

    called = f"py3langid calls {100 * of_references.share:.0f} % of the references another language, too"
    if of_references.surely > MAX_REFERENCE_ERROR:
        return called
    if of_references.share > CAUTION:
        return "; ".join(filter(None, [note, f"{called}: only what exceeds that is the system's"]))
    return note


def _count_letters(text: str) -> int:
    return len(_WORD.findall(text)) + 2 * len(_SYLLABLE.findall(text))
