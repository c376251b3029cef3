from __future__ import annotations

from pathlib import Path

import pytest
import sentencepiece
from tests.exports.vocabulary.vocabularies import learn_pieces

from neuronspec.errors import NeuronspecError
from neuronspec.exports.vocabulary.segmentation import MergeSegmentation, ScoreSegmentation
from neuronspec.exports.vocabulary.sentencepiece_file import keep_pieces, read_pieces, read_type


def test_a_piece_keeps_what_it_is_merged_from_on_the_way_that_is_taken() -> None:
    merges = [("b", "c"), ("a", "b"), ("a", "bc"), ("ab", "c"), ("c", "d")]
    segmentation = MergeSegmentation.from_merges(merges)
    assert segmentation.close(["abc"]) == {"abc", "a", "b", "c", "bc"}
    assert segmentation.close(["ab", "cd"]) == {"ab", "a", "b", "cd", "c", "d"}


def test_neighbors_with_the_same_rank_are_merged_from_the_left() -> None:
    segmentation = MergeSegmentation.from_scores({"aa": -1.0, "aaa": -2.0, "aaaa": -3.0})
    assert segmentation.close(["aaa"]) == {"a", "aa", "aaa"}


def test_scores_of_unknown_characters_do_not_change() -> None:
    assert ScoreSegmentation({"a": -1.0, "b": -9.0, "c": -9.0, "d": -2.0}).close(["a"]) == {"a", "b"}


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_sentencepiece_model_is_read_and_written_piece_by_piece(tmp_path: Path, kind: str) -> None:
    path, pieces = learn_pieces(tmp_path, kind)
    content = Path(path).read_bytes()
    assert read_type(content) == kind
    read = read_pieces(content)
    assert [piece.is_normal for piece in read] == [False] * 3 + [True] * len(pieces)
    assert [(piece.text, piece.score) for piece in read[3:]] == pieces
    assert keep_pieces(content, lambda _: True) == content

    fewer = sentencepiece.SentencePieceProcessor(
        model_proto=keep_pieces(content, lambda piece: not piece.is_normal or len(piece.text) == 1)
    )
    assert fewer.encode("bade", out_type=str) == ["▁", "b", "a", "d", "e"]


def test_a_damaged_sentencepiece_model_is_refused(tmp_path: Path) -> None:
    path, _ = learn_pieces(tmp_path, "unigram")
    content = Path(path).read_bytes()
    for damaged in (content[:-3], b"\x0f" + content, b"\xff" * 9):
        with pytest.raises(NeuronspecError, match="SentencePiece model is damaged"):
            read_pieces(damaged)
