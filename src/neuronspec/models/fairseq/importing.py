"""Importing a fairseq checkpoint as an ordinary Hugging Face directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForSeq2SeqLM, GenerationConfig, PreTrainedConfig, PreTrainedModel

from neuronspec.artifacts.cards import CARD_FILE
from neuronspec.errors import NeuronspecError
from neuronspec.files import hash_path, publish, write_text
from neuronspec.models.building import build_skeleton
from neuronspec.models.fairseq.architecture import Architecture, read_architecture
from neuronspec.models.fairseq.card import make_import_card
from neuronspec.models.fairseq.checkpoint import read_checkpoint
from neuronspec.models.fairseq.configuration import choose_target, make_configuration, make_positions
from neuronspec.models.fairseq.dictionary import read_dictionary
from neuronspec.models.fairseq.pieces import check_pieces, check_words, read_pieces
from neuronspec.models.fairseq.tags import Tags, read_tags
from neuronspec.models.fairseq.tokenizer import write_tokenizer
from neuronspec.models.fairseq.weights import convert_weights, name_weights
from neuronspec.models.length_limits import read_limits

_COMPUTED = "final_logits_bias"  # zero in a fairseq model, which has no such bias


@dataclass(frozen=True, kw_only=True)
class ImportedModel:
    """The result of an import.

    Attributes:
        directory: Directory of the model.
        architecture: Architecture of the model.
        tags: Languages and their tags.
        kind: Type of the model in transformers, such as `m2m_100`.
        dropped: Names of entries of the state dict that are no weights.
        sources: SHA-256 of every file that was read, by its role.
    """

    directory: Path
    architecture: Architecture
    tags: Tags
    kind: str
    dropped: tuple[str, ...]
    sources: Mapping[str, str]


def import_fairseq(
    checkpoint: str | Path,
    dictionary: str | Path,
    out: str | Path,
    *,
    spm: str | Path | None = None,
    languages: Sequence[str] | None = None,
) -> ImportedModel:
    """Import a fairseq checkpoint as an ordinary Hugging Face directory with a stock tokenizer.

    Nothing of the checkpoint is executed. The logits are those of fairseq, and so are the ids of every text.

    Args:
        checkpoint: Path of the checkpoint, such as `checkpoint_best.pt`.
        dictionary: Path of its `dict.txt`.
        out: Directory to write; one that exists is replaced.
        spm: Path of the SentencePiece model; None for a dictionary of words.
        languages: Language codes in the order of the training; None where the checkpoint holds them.

    Raises:
        NeuronspecError: If a file is damaged, the files do not belong together, or the model computes something that no
            class of transformers computes.
    """
    source = read_checkpoint(Path(checkpoint))
    named = name_weights(source.weights)
    architecture = read_architecture(source.model, named.weights)
    target = choose_target(architecture)

    # The vocabulary, whose size the embeddings decide
    vocabulary = read_dictionary(Path(dictionary))
    tags = read_tags(source.task, vocabulary, languages, architecture.vocabulary)
    pieces = None if spm is None else read_pieces(Path(spm))
    if pieces is None:
        check_words(vocabulary)
    else:
        check_pieces(vocabulary, tags.ids.values(), pieces)

    # The weights under the names of transformers
    config = make_configuration(architecture, target)
    weights = {**named.weights, **make_positions(architecture, target, named.weights)}
    skeleton = build_skeleton(config)
    state = _convert_state(skeleton, weights, architecture)

    files = {"checkpoint": checkpoint, "dictionary": dictionary, **({} if spm is None else {"spm": spm})}
    result = ImportedModel(
        directory=Path(out),
        architecture=architecture,
        tags=tags,
        kind=config.model_type,
        dropped=named.dropped,
        sources={role: hash_path(Path(path)) for role, path in files.items()},
    )
    with publish(Path(out)) as temporary:
        temporary.mkdir()
        write_tokenizer(temporary, vocabulary, tags, pieces)
        skeleton.generation_config = _configure_generation(config)
        skeleton.save_pretrained(temporary, state_dict=state)
        write_text(temporary / CARD_FILE, make_import_card(result, source))
        _check_model(temporary, state)
    return result


def _convert_state(
    skeleton: PreTrainedModel, weights: Mapping[str, torch.Tensor], architecture: Architecture
) -> dict[str, torch.Tensor]:
    """Return the state dict of a model of transformers; matrices that it ties are in it once."""
    shapes = {name: tensor.shape for name, tensor in skeleton.state_dict().items()}

    # Fairseq has no bias of the output.
    bias = shapes.pop(_COMPUTED, None)
    tied = skeleton.all_tied_weights_keys if architecture.embeddings == "shared" else {}
    expected = {name: shape for name, shape in shapes.items() if name not in tied}

    sources = {name: _name_source(name) for name in shapes}
    state = convert_weights(weights, expected, sources)
    if bias is not None:
        state[_COMPUTED] = torch.zeros(bias)
    return state


def _name_source(name: str) -> str:
    """Return fairseq's name of a weight of transformers."""
    names = {"model.shared.weight": "encoder.embed_tokens.weight", "lm_head.weight": "decoder.output_projection.weight"}
    return names.get(name, name.removeprefix("model."))


def _configure_generation(config: PreTrainedConfig) -> GenerationConfig:
    """Return a search like fairseq's: five beams, stopped as soon as five sentences are finished, never padding."""
    # Fairseq's limit, and a table of positions may be shorter.
    _, limit = read_limits(config)
    longest = 200 if limit is None else min(200, limit - 1)
    return GenerationConfig(
        bos_token_id=config.bos_token_id,
        pad_token_id=config.pad_token_id,
        eos_token_id=config.eos_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        suppress_tokens=[config.pad_token_id],
        num_beams=5,
        early_stopping=True,
        length_penalty=1.0,
        use_cache=True,
        min_new_tokens=1,
        max_new_tokens=longest,
    )


def _check_model(directory: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Refuse a directory that plain transformers does not load as it was written."""
    model, info = AutoModelForSeq2SeqLM.from_pretrained(
        directory, local_files_only=True, use_safetensors=True, dtype="float32", output_loading_info=True
    )
    loaded = model.state_dict()
    lost = [name for name, tensor in state.items() if name not in loaded or not torch.equal(loaded[name], tensor)]
    lost += [*info["missing_keys"], *info["unexpected_keys"]]
    if lost:
        raise NeuronspecError(
            f"{type(model).__name__} does not load {lost[0]} as it was written: the import is stopped"
        )

    # Numbers may overflow although every weight is finite.
    ids = torch.tensor([[3, 2]])
    with torch.no_grad():
        logits = model.eval()(input_ids=ids, decoder_input_ids=ids[:, 1:], use_cache=False).logits
    if not torch.isfinite(logits).all():
        raise NeuronspecError("the model's logits are not finite: the training had diverged; take another checkpoint")
