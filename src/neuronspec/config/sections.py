"""The sections of a configuration: every key, its default, and its check."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    field_validator,
    model_validator,
)

from neuronspec.config.codes import LanguageCode, check_languages_once, check_levels, check_once
from neuronspec.config.columns import check_columns
from neuronspec.config.registered import Registered
from neuronspec.errors import NeuronspecError
from neuronspec.placeholders import CORPUS_PLACEHOLDERS, check_placeholders

TooLong = Literal["cut", "skip", "error"]
"""What becomes of text that is longer than a model can read: its end is cut off, it is left out, or it is refused."""
Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


NO_EFFECT = "no effect on results"
"""Mark of a key that changes how the work is done or shown, not its result: a stage is not redone when it changes."""


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values do not change after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    def effective(self) -> dict[str, Any]:
        """Return the values that decide results, as JSON: all but those of keys that are marked `NO_EFFECT`."""
        values = self.model_dump(mode="json")
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if NO_EFFECT in field.metadata:
                del values[name]
            elif isinstance(value, Section):
                values[name] = value.effective()
        return values


class Corpus(Section):
    """Parallel text, named by a template."""

    path: str = Field(min_length=1)
    """Where it is, with `{lang}`, `{src}` and `{tgt}` in place of the languages' codes, as they are written in this
    configuration: `train/{lang}.tsv.xz`. Relative to the configuration file."""
    format: Annotated[str, Registered("neuronspec.data.corpora", "CORPUS_FORMATS", ("auto",))] = "auto"
    """Format of the files: `lines` are two aligned files, `opus` is a zip archive of such two, `catalog` stands for
    `.po`, `.mo` and `.json`; `auto` chooses by the name."""
    columns: Annotated[list[StrictInt | str], AfterValidator(check_columns)] | None = None
    """The columns of a table (`tsv`) that hold the two texts, in place of the first and the second: numbers, counted
    from 1 (`[2, 3]`), or names in the first line (`[english, "{lang}"]`, `["{src}", "{tgt}"]`)."""

    @field_validator("path")
    @classmethod
    def _known_placeholders(cls, path: str) -> str:
        try:
            check_placeholders(path, CORPUS_PLACEHOLDERS)
        except NeuronspecError as error:
            raise ValueError(str(error)) from error
        return path

    @model_validator(mode="after")
    def _columns_of_a_table(self) -> Corpus:
        if self.columns is not None and self.format not in ("auto", "tsv"):
            raise ValueError(f"columns are for tables of TABs (format: tsv), not for {self.format}")
        return self


class HoldOut(Section):
    """What to keep out of training, chosen by a hash of the pivot's side (of the first, in a pair without it)."""

    valid: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of the sentences to validate on and to record neurons on, where `data.valid` is not given."""
    test: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of the sentences to test on, where `data.test` is not given."""


class Data(Section):
    """Training, validation and test text."""

    train: list[Corpus] = Field(min_length=1)
    """The corpora to train on."""
    valid: list[Corpus] = []
    """The corpora to validate on and to record neurons on; empty: held out of `train`."""
    test: list[Corpus] = []
    """The corpora to test on; empty: held out of `train`."""
    hold_out: HoldOut = HoldOut()
    """How much of `train` to hold out."""
    too_long: TooLong = "cut"
    """What becomes of a validation pair with a side that is longer than the model can read: its end is cut off, the
    pair is left out, or the run stops before any work. Training pairs of that length are always left out."""


class Vocabulary(Section):
    """The SentencePiece unigram vocabulary (ignored for a pretrained model, which has its own)."""

    size: int = Field(default=32_000, ge=64)
    """Pieces, special tokens included, language tags not (paper: 30,000 for IWSLT, 128,000 for EC30)."""
    character_coverage: float = Field(default=1.0, gt=0.9, le=1)
    """Share of the characters that must be in the vocabulary; the rest becomes `<unk>`."""
    temperature: float = Field(default=5.0, ge=1)
    """Balance of the languages in the sample: 1 as they come, larger is flatter."""
    sample: int = Field(default=2_000_000, ge=100)
    """How many sentences to learn from."""


class Preparation(Section):
    """How text is cleaned, and the vocabulary that it is encoded with."""

    min_words: int = Field(default=1, ge=1)
    """Drop pairs with fewer words than this on the pivot's side."""
    max_words: int | None = Field(default=None, ge=1)
    """Drop training pairs with more words than this on either side."""
    max_length_ratio: float | None = Field(default=None, gt=1)
    """Drop training pairs where one side has more than this many times the words of the other."""
    deduplicate: bool = True
    """Keep each training pair once."""
    drop_held_out: bool = False
    """Drop training pairs with a sentence, on either side, that is also in `valid` or `test`; otherwise they are
    counted only."""
    drop_matching: str | None = None
    """Drop training pairs where this regular expression is found on either side."""
    vocabulary: Vocabulary = Vocabulary()

    @field_validator("drop_matching")
    @classmethod
    def _valid_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from error
        return pattern


class Sampling(Section):
    """How training batches are drawn."""

    temperature: float = Field(default=5.0, ge=1)
    """T: a direction is drawn in proportion to (its share of the pairs)^(1/T) (paper: 2 for IWSLT, 5 for EC30)."""
    tokens_per_batch: int = Field(default=4_096, ge=8)
    """The larger of padded source and padded target tokens of one batch may not exceed this (paper: 2,560 for
    IWSLT, 7,680 for EC30)."""
    homogeneous: bool = False
    """Whether each batch holds one direction only, as in the released code; any mix otherwise."""
    max_tokens: int = Field(default=256, ge=8)
    """Training pairs with more tokens than this on a side are left out."""


class Model(Section):
    """The model to train: a preset or a pretrained model."""

    preset: Annotated[str | None, Registered("neuronspec.models.presets", "PRESETS")] = None
    """Architecture of a model that is built from scratch."""
    pretrained: str | None = None
    """Or a Hugging Face encoder-decoder to start from: a directory or a name on the hub."""
    revision: str | None = None
    """The revision of a pretrained model on the hub."""
    source_prefix: str | dict[str, str] | None = None
    """Words that a model without language tags reads in front of each source, such as
    `"translate {src_name} to {tgt_name}: "`, with `{src}`, `{tgt}` (codes) and `{src_name}`, `{tgt_name}` (English
    names); or such words for each direction: `{de-en: "translate German to English: "}`."""
    activation: Literal["relu", "gelu"] = "relu"
    """The FFN's activation function, for presets."""
    embeddings: Literal["separate", "shared"] = "separate"
    """`separate`: the decoder's input and output share one matrix and the encoder has its own, as in the paper;
    `shared`: one matrix for all three. For presets."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout and attention dropout; the preset's where not given."""

    @model_validator(mode="after")
    def _one_origin(self) -> Model:
        if (self.preset is None) == (self.pretrained is None):
            raise ValueError("give exactly one of model.preset and model.pretrained")
        if self.source_prefix is not None and self.pretrained is None:
            raise ValueError("model.source_prefix is for a pretrained model; one of a preset has language tags")
        return self


class Training(Section):
    """One training: the budget, the optimiser, the schedule."""

    updates: int = Field(default=100_000, ge=0)
    """Optimiser updates at most; 0 takes the model as it is."""
    batches_per_update: int = Field(default=1, ge=1)
    """Batches whose gradients make one update, over all processes together."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """The highest learning rate."""
    warmup: int = Field(default=4_000, ge=0)
    """Updates over which the learning rate rises from 0."""
    schedule: Literal["inverse_sqrt", "constant"] = "inverse_sqrt"
    """What follows the warm-up."""
    decay: float = Field(default=0.0, ge=0, le=1)
    """Share of the updates, the last ones, over which the learning rate falls to 0 in a straight line."""
    adam_betas: tuple[Decay, Decay] = (0.9, 0.98)
    """Adam's decay rates."""
    adam_epsilon: float = Field(default=1e-9, gt=0)
    """Adam's epsilon (the released code uses 1e-6)."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    max_gradient_norm: float | None = Field(default=None, gt=0)
    """Clip the gradient to this norm."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Probability spread evenly over the vocabulary, the right token included (fairseq leaves that one out)."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 on GPUs that have it, fp32 elsewhere."""
    validate_every: int = Field(default=500, ge=1)
    """Updates between validations."""
    patience: int | None = Field(default=20, ge=1)
    """Stop after this many validations without a lower loss; null: never."""
    checkpoint_every: int | None = Field(default=None, ge=1)
    """Updates between checkpoints; null: with each validation."""
    keep_checkpoints: Annotated[int, NO_EFFECT] = Field(default=2, ge=1)
    """How many of the newest checkpoints stay; the best one always does."""
    select: Literal["best", "last"] = "best"
    """Which checkpoint becomes the model."""
    report_to: Annotated[list[Literal["tensorboard", "wandb"]], NO_EFFECT] = []
    """Trackers beside the JSON-lines log."""


def _share_or_auto(k: Any) -> Any:
    if k != "auto" and (isinstance(k, bool) or not isinstance(k, int | float) or not 0 <= k <= 1):
        raise ValueError("must be a share from 0 to 1, or auto")
    return k


class Recording(Section):
    """How activations are counted on the validation text (paper, section 3.1)."""

    unit: Literal["sentence", "token"] = "sentence"
    """Unit of the counts: sentences in which a neuron is active (the paper's text) or token positions (the released
    code)."""
    threshold: float = 0.0
    """Threshold of activity: a neuron is active where its value is greater."""
    gated_at: Literal["gate", "product"] = "gate"
    """Value that decides in gated units (mT5, LLaMA ...): the gate's activation, or the product that enters the
    second matrix."""
    ignore: Annotated[list[Literal["tags", "end_of_sentence"]], AfterValidator(check_once)] = []
    """Tokens that do not count: language tags, ends of sentences (which the decoder also starts with)."""
    means: bool = False
    """Keep each neuron's mean activation, too."""
    states: bool = False
    """Keep which neurons each sentence activated, too (an eighth of a byte each)."""
    tokens_per_batch: Annotated[int, NO_EFFECT] = Field(default=8_192, ge=8)
    """Padded tokens of one batch; counts depend on it only through rounding."""


class Selection(Section):
    """Which neurons are specialized (paper, section 3.1)."""

    rule: Annotated[str, Registered("neuronspec.neurons.rules", "RULES")] = "coverage"
    """Selection rule: `coverage` is the paper's (Eq. 1), `top` takes the share k of each layer, `random` as many as
    `coverage` at random, `lape` those that few tasks use (Tang et al., 2024), `released` as the released code computes
    Eq. 1."""
    k: Annotated[float | Literal["auto"], BeforeValidator(_share_or_auto)] = 0.95
    """Share of the activation that the selected neurons must cover (Eq. 1); `auto`: the smallest one with which the
    masked, untrained model loses no more than `auto_k_tolerance` on the validation text."""
    encoder_k: Share | None = None
    """Another k for the encoder."""
    decoder_k: Share | None = None
    """Another k for the decoder."""
    layer_k: dict[str, Share] = {}
    """Another k for single layers: `{decoder.5: 0.8}`."""
    auto_k_tolerance: float = Field(default=0.01, ge=0)
    """Share by which the validation loss may rise with `k: auto`."""
    options: dict[str, int | float] = {}
    """Options of the rule: `seed` of `random`; `share` and `bar` of `lape`."""

    @model_validator(mode="after")
    def _search_where_there_is_a_k(self) -> Selection:
        if self.k == "auto" and self.rule == "lape":
            raise ValueError("select.k: the rule lape has no k to search for")
        return self


_ENGINES = "neuronspec.translation.engines"


def _resolve_engine(name: Any) -> Any:
    """Return the registered name of an engine, which may have short ones; any other value as it is."""
    if not isinstance(name, str) or name == "transformers":
        return name
    try:
        return importlib.import_module(_ENGINES).resolve_engine(name)
    except NeuronspecError:
        return name


class Translation(Section):
    """How to decode."""

    beams: int = Field(default=5, ge=1)
    """Beam size (paper: 5)."""
    length_penalty: float = 1.0
    """Exponent of the length by which a hypothesis' log-probability is divided (paper: 1)."""
    max_tokens: int = Field(default=200, ge=1)
    """Longest output, in tokens."""
    early_stopping: bool | None = None
    """Stop a beam search as soon as there are as many finished hypotheses as beams, as fairseq does; false: only when
    no better one can come. null: as the model's generation configuration says, which is false for models trained
    here."""
    too_long: TooLong = "cut"
    """What becomes of a sentence that is longer than the model can read: its end is cut off, its translation is left
    empty, or the run stops before any work."""
    tokens_per_batch: int = Field(default=4_096, ge=8)
    """Padded source tokens of one batch, times beams."""
    engine: Annotated[str, BeforeValidator(_resolve_engine), Registered(_ENGINES, "ENGINES")] = "transformers"
    """What decodes; `ctranslate2` (an extra) is faster on CPUs. Masks are applied by both."""
    compute_type: str = "default"
    """The precision of ctranslate2: `default` (that of the weights), `int8`, `float16` ..."""

    @model_validator(mode="after")
    def _precision_of_an_engine(self) -> Translation:
        if self.compute_type == "default":
            return self
        engines = importlib.import_module(_ENGINES).ENGINES
        if self.engine in engines and "compute_type" not in engines[self.engine].options:
            able = [name for name, engine in engines.items() if "compute_type" in engine.options]
            raise ValueError(f"translate.compute_type is for engine: {' or '.join(able)}")
        return self


class Scoring(Section):
    """How translations are scored, and how systems are compared."""

    metrics: Annotated[
        list[str], AfterValidator(check_once), Registered("neuronspec.evaluation.metrics", "METRICS")
    ] = Field(default=["bleu", "chrf"], min_length=1)
    """Metrics: `bleu`, `chrf` (chrF++) and `ter` through sacrebleu, `spbleu` (needs `sentencepiece`), `tokenized_bleu`
    (needs sacremoses), `comet` (needs an environment of its own, see docs/evaluation.md)."""
    sentencepiece: Path | None = None
    """The SentencePiece model that `spbleu` splits with. Relative to where the command runs."""
    comet_model: str = "Unbabel/wmt22-comet-da"
    """The model of `comet`: a name on the hub, a checkpoint file, or a directory with `checkpoints/model.ckpt`."""
    levels: dict[str, Annotated[list[LanguageCode], AfterValidator(check_languages_once)]] = {}
    """Groups of languages that tables average over, by resource level: `{high: [de, fr], low: [lb]}`. Where not
    given, those of EC30, if all languages are among its thirty."""
    trials: int = Field(default=10_000, ge=100)
    """Trials of the paired approximate randomisation test."""
    correction: Annotated[str, Registered("neuronspec.statistics.corrections", "CORRECTIONS")] = "holm"
    """The correction of p-values for the number of tests of a family: `holm` (no single claim is chance), `bh`
    (Benjamini-Hochberg: a share of the claims may be) or `none`."""

    @field_validator("levels")
    @classmethod
    def _each_language_once(cls, levels: dict[str, list[str]]) -> dict[str, list[str]]:
        check_levels(levels)
        return levels

    @model_validator(mode="after")
    def _pieces_where_they_are_needed(self) -> Scoring:
        if ("spbleu" in self.metrics) != (self.sentencepiece is not None):
            raise ValueError("score.sentencepiece: give it with the metric spbleu, and only with it")
        return self


class Reporting(Section):
    """How results are shown."""

    significance: float = Field(default=0.05, gt=0, lt=1)
    """The p-value up to which a difference is marked, after the correction."""


def _none_or_enough(resamples: int) -> int:
    if resamples and resamples < 20:
        raise ValueError("must be 0, or 20 or more: with fewer no p-value could be 0.05")
    return resamples


class Analysis(Section):
    """What is measured of the neurons."""

    encoder: Literal["to", "from"] = "to"
    """The tasks that are compared in the encoder: x-pivot (`to`, as in the paper) or pivot-x (`from`)."""
    decoder: Literal["to", "from"] = "from"
    """The tasks that are compared in the decoder: pivot-x (`from`, as in the paper) or x-pivot (`to`)."""
    shares: Annotated[list[Share], AfterValidator(check_once)] = [0.5, 0.7, 0.8, 0.9, 0.95, 0.99]
    """The k at which overlaps are shown beside the chosen one."""
    permutations: int = Field(default=1_999, ge=99)
    """Permutations of each test of what the overlaps follow."""
    resamples: Annotated[int, AfterValidator(_none_or_enough)] = 200
    """Resamples of the sentences, for intervals and nulls, 20 or more; 0: none. Needs `record.states`."""
    uriel: Annotated[
        list[Literal["genetic", "geographic", "syntactic", "phonological", "inventory", "featural"]],
        AfterValidator(check_once),
    ] = []
    """Distances between languages from URIEL to test as well (needs lang2vec)."""
    distances: dict[str, Path] = {}
    """Distances of your own to test as well, by name: square CSV tables headed by language codes. Relative to where
    the command runs."""
    against: dict[str, Path] = {}
    """Masks of other runs of the same tasks, by name, such as another seed's: whether the overlaps are the same."""
    examples: int = Field(default=5, ge=0)
    """Sentences on the card of each neuron; 0: no cards."""
    figures: bool = True
    """Draw the figures: a few seconds for each layer of 200 languages. The report shows the overlaps in any case."""
    released: bool = False
    """Draw the heat maps also as the released code does (IoU ** 1.25), under that name."""

    @property
    def sides(self) -> dict[str, Literal["to", "from"]]:
        """On which side the pivot stands in the tasks that are compared in each stack."""
        return {"encoder": self.encoder, "decoder": self.decoder}


class AblationOptions(Section):
    """Switching off each language's own neurons, and the other languages', to see what its text loses."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of each layer's neurons to switch off."""
    draws: int = Field(default=3, ge=1)
    """Random sets of as many neurons to compare with."""
    sentences: int = Field(default=200, ge=1)
    """Sentences of each task's validation text to measure the loss on."""
    metric: Literal["loss", "chrf"] = "loss"
    """Measure: the validation `loss`, or `chrf` (chrF++) of translations, which takes much longer."""
