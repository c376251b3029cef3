"""The proof that a model still does what it did before a language was added: the same weights, tokens and outputs.

Both models are read from disk into the same process and translate the same batches on the CPU. What is compared, bit
by bit: every weight that is not the new languages' own; the ids of every sentence; the scores of all tokens in every
step of a greedy search and of a search with 5 beams; and the translations.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import TypeAdapter, ValidationError
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel

from neuronspec.data.batches import pad
from neuronspec.data.normalization import is_empty
from neuronspec.errors import NeuronspecError
from neuronspec.files import read_json
from neuronspec.methods.add_language.own_entries import count_entries, hash_others, list_own_entries
from neuronspec.methods.add_language.planning import find_own_neurons
from neuronspec.models.additions import align_weights, read_additions
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.progress import show_progress
from neuronspec.specialization.growth import find_free_neurons, widen_masks
from neuronspec.specialization.masking import specialize
from neuronspec.training.method import Before

logger = logging.getLogger(__name__)
PROOF_FILE: Final = "added_languages.json"
_BEAMS: Final = (1, 5)
_BATCH, _MAX_TOKENS = 16, 200  # sentences, tokens of an output


@dataclass(frozen=True, kw_only=True)
class TaskProof:
    """The outputs of one direction before and after.

    Attributes:
        task: Direction.
        sentences: Number of sentences.
        before: SHA-256 of all scores and tokens of both searches before.
        after: The same after.
        translations: SHA-256 of the translations with 5 beams, a line each, in the order of the sentences.
    """

    task: str
    sentences: int
    before: str
    after: str
    translations: str


@dataclass(frozen=True, kw_only=True)
class AdditionProof:
    """The facts about an added language, and the proof that all else is as it was.

    Attributes:
        languages: Codes of the new languages.
        tasks: New directions.
        base_model: Name of the model before.
        tensors: Number of tensors of the model before.
        weights_before: SHA-256 over all of them, without the entries that became the new languages' own.
        weights_after: The same after.
        vocabulary_before: Number of tokens before.
        vocabulary: Number of tokens after.
        widths_before: Number of neurons of each layer before.
        widths: The same after.
        free: Number of neurons of each layer that no task used when the language was added, new ones included.
        own: Number of neurons of each layer that the new directions trained.
        trained: Number of parameters that were trained.
        directions: Directions from before.
    """

    languages: tuple[str, ...]
    tasks: tuple[str, ...]
    base_model: str
    tensors: int
    weights_before: str
    weights_after: str
    vocabulary_before: int
    vocabulary: int
    widths_before: Mapping[str, int]
    widths: Mapping[str, int]
    free: Mapping[str, int]
    own: Mapping[str, int]
    trained: int
    directions: tuple[TaskProof, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all facts as JSON values."""
        return asdict(self)


def read_proof(directory: Path) -> AdditionProof | None:
    """Return the proof that is stored next to a model; None if no language was added to it.

    Raises:
        NeuronspecError: If the file is damaged.
    """
    path = directory / PROOF_FILE
    if not path.is_file():
        return None
    try:
        return TypeAdapter(AdditionProof).validate_python(read_json(path))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise NeuronspecError(f"{path} is damaged: {place}: {problem['msg']}; copy it again") from error


def prove_addition(directory: Path, before: Before) -> AdditionProof:
    """Prove that a model with an added language does for all other directions what the model before did.

    Args:
        directory: Directory of the trained model, with its masks.
        before: Model before, its masks, and sentences of each of its directions.

    Raises:
        NeuronspecError: If anything differs; the message says what. Such a model must not be published.
    """
    model, masks = align_weights(load_model(directory)).eval(), NeuronMasks.from_pretrained(directory)
    base = align_weights(load_model(before.model, before.revision)).eval()
    last = read_additions(model.config)[-1]

    # Weights first: outputs could agree by chance.
    own = find_own_neurons(masks, last.tasks)
    entries = list_own_entries(model, own, last.vocabulary)
    shapes = {name: tuple(tensor.shape) for name, tensor in base.state_dict().items()}
    hashes = hash_others(base.state_dict(), shapes, entries), hash_others(model.state_dict(), shapes, entries)
    changed = [name for name in shapes if hashes[0][name] != hashes[1][name]]
    if changed:
        raise _differs(f"{len(changed)} weights that belong to other directions have changed, first {changed[0]}")

    directions = _prove_outputs(base, model, masks, directory, before)
    grown = widen_masks(before.masks, masks.widths)
    return AdditionProof(
        languages=last.languages,
        tasks=last.tasks,
        base_model=before.name,
        tensors=len(shapes),
        weights_before=_combine(hashes[0]),
        weights_after=_combine(hashes[1]),
        vocabulary_before=last.vocabulary,
        vocabulary=model.config.vocab_size,
        widths_before=last.widths,
        widths=masks.widths,
        free={layer: int(free.sum()) for layer, free in find_free_neurons(grown).items()},
        own={layer: int(neurons.sum()) for layer, neurons in own.items()},
        trained=count_entries(model, entries),
        directions=directions,
    )


def _prove_outputs(
    base: PreTrainedModel, model: PreTrainedModel, masks: NeuronMasks, directory: Path, before: Before
) -> tuple[TaskProof, ...]:
    """Compare ids, scores and translations of all directions from before."""
    old_codec = TextCodec(load_tokenizer(before.model, before.revision), base.config)
    new_codec = TextCodec(load_tokenizer(directory), model.config)
    specialize(base, before.masks)
    specialize(model, masks)

    proofs = []
    total = sum(map(len, before.sentences.values()))
    with show_progress("proving the other directions", 2 * total) as advance:
        for task, sentences in before.sentences.items():
            texts = [sentence for sentence in sentences if not is_empty(sentence)]
            _check_ids(old_codec, new_codec, task, texts)
            size = read_additions(model.config)[-1].vocabulary
            one, lines = _hash_outputs(base, old_codec, task, texts, size)
            advance(len(sentences))
            other, same = _hash_outputs(model, new_codec, task, texts, size)
            advance(len(sentences))
            if one != other or lines != same:
                raise _differs(f"the outputs of {task} have changed")

            translations = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
            proofs.append(
                TaskProof(task=task, sentences=len(texts), before=one, after=other, translations=translations)
            )
    return tuple(proofs)


def _check_ids(old: TextCodec, new: TextCodec, task: str, sentences: Sequence[str]) -> None:
    """Refuse another way of splitting sentences, or other tokens around them."""
    old_form, new_form = old.format(task), new.format(task)
    pairs = zip(old.encode_sources(sentences, task), new.encode_sources(sentences, task), strict=True)
    for sentence, (one, other) in zip(sentences, pairs, strict=True):
        if old_form.source(one) != new_form.source(other):
            raise _differs(f"the tokens of {sentence!r:.80} ({task}) have changed")
    if old_form.decoding_start != new_form.decoding_start:
        raise _differs(f"the decoder starts {task} with other tokens")


class _HashScores(LogitsProcessor):  # type: ignore[misc]
    """Lets the scores of the tokens that were there before enter a hash, and changes nothing."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.hash = hashlib.sha256()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        before = scores[:, : self.size].float().cpu().contiguous()
        self.hash.update(before.numpy().tobytes())
        return scores


@torch.no_grad()
def _hash_outputs(
    model: PreTrainedModel, codec: TextCodec, task: str, sentences: Sequence[str], size: int
) -> tuple[str, list[str]]:
    """Return the hash of all scores and tokens of both searches, and the translations of the one with beams."""
    form = codec.format(task)
    ids = [form.source(text) for text in codec.encode_sources(sentences, task)]
    noted = _HashScores(size)
    longest = _MAX_TOKENS if form.longest_target is None else max(1, min(_MAX_TOKENS, form.room[1] or 1))

    lines: list[str] = []
    for beams in _BEAMS:
        lines = []
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            output = model.generate(
                input_ids=pad(batch, form.pad),  # (batch, source)
                attention_mask=pad([[1] * len(row) for row in batch], 0),
                decoder_input_ids=torch.tensor([form.decoding_start] * len(batch)),
                num_beams=beams,
                max_new_tokens=longest,
                do_sample=False,
                pad_token_id=form.pad if form.target_pad is None else form.target_pad,
                logits_processor=LogitsProcessorList([noted]),
                tasks=[task] * len(batch),
            )
            noted.hash.update(output.numpy().tobytes())
            written = output[:, len(form.decoding_start) :].tolist()
            lines += [" ".join(text.split()) for text in codec.decode(written)]
    return noted.hash.hexdigest(), lines


def _combine(hashes: Mapping[str, str]) -> str:
    """Return one hash of the hashes of all tensors."""
    listed = "".join(f"{name} {hashes[name]}\n" for name in sorted(hashes))
    return hashlib.sha256(listed.encode()).hexdigest()


def _differs(found: str) -> NeuronspecError:
    return NeuronspecError(
        f"the model is not published, because the other directions are not what they were: {found}; its checkpoints "
        "stay: report this"
    )
