"""A parallel corpus of any size from a seed, with words by Zipf's law, and duplicates and noise as in real text."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Letters of the languages' words: an alphabet decides how many bytes a letter has.
ALPHABETS = {
    "latin": "eaionrtslucdmpghvbfyäöéàçñ",
    "cyrillic": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэф",
    "greek": "αοιετσνηυρπκμλωςδγχθφβξζψ",
    "arabic": "اليمونرتبةعدسفهكقحجشطصخضذثئءغظ",
}
LANGUAGES = {
    **dict.fromkeys(("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "cs", "pl", "ro"), "latin"),
    **dict.fromkeys(("ru", "uk", "bg", "sr", "be"), "cyrillic"),
    **dict.fromkeys(("el",), "greek"),
    **dict.fromkeys(("ar", "fa"), "arabic"),
}
TYPES = 200_000  # different words of a language
EXPONENT = 1.05  # of Zipf's law
MEAN_WORDS, SPREAD = 18, 0.6  # of a log-normal distribution of sentence lengths
DUPLICATES, NOISE = 0.04, 0.01  # shares of the lines
_BLOCK = 50_000  # lines drawn at a time


def write_corpus(folder: Path, pairs: int, languages: Sequence[str], seed: int = 1) -> str:
    """Write a table for each language but English, and return their template.

    Languages have different amounts of text, as real corpora do: the i-th of them gets a share of 1 / i.

    Args:
        folder: Folder to write to.
        pairs: Number of sentence pairs of all languages together.
        languages: Codes of the languages next to English.
        seed: Seed of everything random.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shares = 1 / np.arange(1, len(languages) + 1)
    sizes = np.floor(pairs * shares / shares.sum()).astype(int)
    sizes[0] += pairs - sizes.sum()

    english = _make_words("en", seed)
    for number, (language, size) in enumerate(zip(languages, sizes, strict=True)):
        generator = np.random.default_rng([seed, number])
        words = _make_words(language, seed)
        with (folder / f"{language}.tsv").open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(_write_lines(english, words, int(size), generator))
    return str(folder / "{lang}.tsv")


def _make_words(language: str, seed: int) -> list[str]:
    """Return the words of a language, the most frequent ones first: those are the shortest."""
    generator = np.random.default_rng([seed, *language.encode()])
    letters = np.array(list(ALPHABETS[LANGUAGES[language]]))
    weights = 1 / np.arange(1, len(letters) + 1)

    lengths = np.sort(generator.poisson(6, TYPES) + 1)
    drawn = generator.choice(letters, size=int(lengths.sum()), p=weights / weights.sum())
    text = "".join(drawn)
    ends = np.cumsum(lengths)
    words = [text[end - length : end] for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]

    # Neighbors change places, so that length and frequency agree as loosely as in real languages.
    order = np.argsort(np.arange(TYPES) + generator.normal(0, TYPES / 20, TYPES))
    return [words[index] for index in order]


def _write_lines(english: list[str], other: list[str], size: int, generator: np.random.Generator) -> Iterator[str]:
    """Yield the lines of a table, some of which are noise or came before."""
    written = 0
    while written < size:
        count = min(_BLOCK, size - written)
        lengths = np.clip(np.exp(generator.normal(np.log(MEAN_WORDS), SPREAD, count)), 1, 200).astype(int)
        others = np.clip(lengths * generator.normal(0.95, 0.15, count), 1, 220).astype(int)
        left = _write_sentences(english, lengths, generator)
        right = _write_sentences(other, others, generator)
        lines = [f"{first}\t{second}\n" for first, second in zip(left, right, strict=True)]

        # Noise: a side is empty, or both are the same; duplicates repeat a line of this block.
        kinds = generator.random(count)
        for index in np.flatnonzero(kinds < NOISE).tolist():
            lines[index] = f"\t{right[index]}\n" if index % 2 else f"{left[index]}\t{left[index]}  \n"
        for index in np.flatnonzero(kinds > 1 - DUPLICATES).tolist():
            lines[index] = lines[index // 2]
        yield from lines
        written += count


def _write_sentences(words: list[str], lengths: NDArray[np.int64], generator: np.random.Generator) -> list[str]:
    # The inverse of a power law's distribution function, of a uniform draw.
    uniform = generator.random(int(lengths.sum()))
    power = 1 - EXPONENT
    ranks = ((uniform * (TYPES**power - 1) + 1) ** (1 / power)).astype(np.int64) - 1
    drawn = [words[rank] for rank in np.minimum(ranks, TYPES - 1).tolist()]

    ends = np.cumsum(lengths).tolist()
    starts = itertools.chain([0], ends)
    return [" ".join(drawn[start:end]) + "." for start, end in zip(starts, ends, strict=False)]


def main() -> None:
    """Write a corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to write to")
    parser.add_argument("--pairs", type=int, default=1_000_000, help="number of sentence pairs")
    parser.add_argument("--languages", type=int, default=10, help=f"number of languages (2 .. {len(LANGUAGES) - 1})")
    parser.add_argument("--seed", type=int, default=1, help="seed of everything random")
    options = parser.parse_args()
    chosen = list(LANGUAGES)[1:] if options.languages >= len(LANGUAGES) else list(LANGUAGES)[1 : options.languages + 1]
    print(write_corpus(options.folder, options.pairs, chosen, options.seed))


if __name__ == "__main__":
    main()
