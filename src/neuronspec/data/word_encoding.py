"""Encoding text word by word: most words of a text came before, so that their ids are known."""

from __future__ import annotations

from neuronspec.data.encoding import Encode

MOST_WORDS = 200_000  # words whose ids are remembered: less than 100 MB
_SPACE_MARK = "\u2581"  # stands for a space within tokenizers


class WordEncoder:
    """Encodes text like another encoder of which `reads_words_alone` is true, several times as fast.

    Text that is not single words with single spaces between them is left to that encoder, and so is text with the
    character that stands for a space.

    Args:
        encode: Encoder, from sentences to ids without special tokens.
    """

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._known: dict[str, list[int]] = {}

    def __call__(self, sentences: list[str]) -> list[list[int]]:
        """Return the ids of each sentence."""
        words = [self._split(sentence) for sentence in sentences]
        self._learn({word: None for one in words for word in one or ()})

        # What cannot be split is encoded together.
        whole = [sentence for sentence, one in zip(sentences, words, strict=True) if one is None]
        encoded = iter(self._encode(whole) if whole else ())
        return [next(encoded) if one is None else self._join(one) for one in words]

    @staticmethod
    def _split(sentence: str) -> list[str] | None:
        """Return the words of a sentence; None if it is not their sequence alone."""
        words = sentence.split()
        return words if " ".join(words) == sentence and _SPACE_MARK not in sentence else None

    def _learn(self, words: dict[str, None]) -> None:
        """Encode the words that are not known yet, each once, in their order."""
        unknown = [word for word in words if word not in self._known]

        # Forgetting all of them now and then is simple, and costs little: frequent words come back at once.
        if len(self._known) + len(unknown) > MOST_WORDS:
            self._known.clear()
            unknown = list(words)
        self._known.update(zip(unknown, self._encode(unknown) if unknown else (), strict=True))

    def _join(self, words: list[str]) -> list[int]:
        ids: list[int] = []
        for word in words:
            ids += self._known[word]
        return ids
