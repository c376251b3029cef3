"""The sections of a configuration: every key, its default, and its check."""

from __future__ import annotations

import importlib
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

from neuronspec.config.codes import Direction, LanguageCode, check_languages_once, check_levels, check_once
from neuronspec.config.columns import check_columns
from neuronspec.config.registered import Registered
from neuronspec.errors import NeuronspecError
from neuronspec.placeholders import CORPUS_PLACEHOLDERS, check_placeholders
from neuronspec.text_patterns import TextPattern

# Types that several sections share
TooLong = Literal["cut", "skip", "error"]
"""Handling of text that is longer than a model can read: its end is cut off, it is left out, or it is refused."""
Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


NO_EFFECT = "no effect on results"
"""Mark of a key that changes how the work is done or shown, not its result: a stage is not redone when it changes."""


class Section(BaseModel):
    """A part of the configuration, which refuses unknown keys and does not change after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    def effective(self) -> dict[str, Any]:
        """Return the values that decide results, as JSON: all but those of keys that are marked `NO_EFFECT`."""
        # Sections hold sections, each of which leaves out its own keys.
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
    """Path with `{lang}`, `{src}` and `{tgt}` in place of the languages' codes, in this configuration's spelling or in
    another one: `train/{lang}.tsv.xz`. Relative to the configuration file."""
    format: Annotated[str, Registered("neuronspec.data.corpora", "CORPUS_FORMATS", ("auto",))] = "auto"
    """Format of the files: `lines` are two aligned files, `opus` is a zip archive of such two, `catalog` stands for
    `.po`, `.mo` and `.json`; `auto` chooses by the name."""
    columns: Annotated[list[StrictInt | str], AfterValidator(check_columns)] | None = None
    """Columns of a table (`tsv`) that hold the two texts, in place of the first and the second: numbers, counted
    from 1 (`[2, 3]`), or names in the first line (`[english, "{lang}"]`, `["{src}", "{tgt}"]`)."""
    languages: Annotated[list[LanguageCode], AfterValidator(check_languages_once)] = []
    """Languages that it holds, in any spelling, where these are not all of the run: a pair is read from it if every
    side but the pivot is one of them. The pivot need not be named."""

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
        # With `auto`, the name of the file decides, which is known only when it is read.
        if self.columns is not None and self.format not in ("auto", "tsv"):
            raise ValueError(f"columns are for tables of TABs (format: tsv), not for {self.format}")
        return self


class HoldOut(Section):
    """Sentences to keep out of training, chosen by a hash of the pivot's side (of the first, in a pair without it)."""

    valid: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of the sentences to validate on and to record neurons on, where `data.valid` is not given."""
    test: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of the sentences to test on, where `data.test` is not given."""


class Data(Section):
    """Training, validation and test text."""

    train: list[Corpus] = Field(min_length=1)
    """Training corpora."""
    valid: list[Corpus] = []
    """Validation corpora, on which neurons are recorded as well. If empty, sentences of `train` are held out."""
    test: list[Corpus] = []
    """Test corpora. If empty, sentences of `train` are held out."""
    hold_out: HoldOut = HoldOut()
    """Shares of `train` to hold out. Next to corpora that have `languages`, they apply to the pairs that none of these
    holds."""
    too_long: TooLong = "cut"
    """Handling of validation pairs that are longer than the model can read: `cut` cuts off their ends, `skip` leaves
    them out, `error` stops the run before any work. Training pairs of that length are always left out."""


class Vocabulary(Section):
    """The SentencePiece unigram vocabulary. A pretrained model keeps its own vocabulary."""

    size: int = Field(default=32_000, ge=64)
    """Number of pieces, including special tokens but not language tags (paper: 30,000 for IWSLT, 128,000 for EC30)."""
    character_coverage: float = Field(default=1.0, gt=0.9, le=1)
    """Share of the characters that the vocabulary must cover; the rest becomes `<unk>`."""
    temperature: float = Field(default=5.0, ge=1)
    """Sampling temperature over languages: 1 keeps their proportions, larger values make them more equal."""
    sample: int = Field(default=2_000_000, ge=100)
    """Number of sentences to learn from; fewer where these are longer than 128 MiB together, since SentencePiece takes
    up to 25 bytes of memory for each byte."""
    threads: int | None = Field(default=None, ge=1)
    """Number of threads of SentencePiece; null: one. Sums depend on it in their last digits, so pieces can as well: the
    same number gives the same vocabulary on every machine."""


class Preparation(Section):
    """Cleaning of the text, and the vocabulary that it is encoded with."""

    min_words: int = Field(default=1, ge=1)
    """Smallest number of words on the pivot's side; pairs with fewer are dropped."""
    max_words: int | None = Field(default=None, ge=1)
    """Largest number of words on either side; training pairs with more are dropped."""
    max_length_ratio: float | None = Field(default=None, gt=1)
    """Largest ratio of the two sides' numbers of words; training pairs above it are dropped."""
    deduplicate: bool = True
    """Whether each training pair is kept only once."""
    drop_held_out: bool = False
    """Whether training pairs are dropped that share a sentence, on either side, with `valid` or `test`; otherwise they
    are only counted."""
    drop_matching: str | None = None
    """Regular expression; training pairs in which either side matches it are dropped."""
    vocabulary: Vocabulary = Vocabulary()
    """Vocabulary of a model that is built from a preset."""

    @field_validator("drop_matching")
    @classmethod
    def _valid_pattern(cls, pattern: str | None) -> str | None:
        # Compiled here, so that a wrong pattern fails at once and not at the first sentence
        TextPattern(pattern or "")
        return pattern


class Sampling(Section):
    """Drawing of training batches."""

    temperature: float = Field(default=5.0, ge=1)
    """Sampling temperature T: a direction is drawn in proportion to (its share of the pairs)^(1/T) (paper: 2 for IWSLT,
    5 for EC30)."""
    tokens_per_batch: int = Field(default=4_096, ge=8)
    """Largest number of tokens in a batch, with padding, of the longer of source and target (paper: 2,560 for IWSLT,
    7,680 for EC30)."""
    homogeneous: bool = False
    """Whether each batch holds one direction only, as in the released code, instead of any mix."""
    max_tokens: int = Field(default=256, ge=8)
    """Largest number of tokens on a side; training pairs with more are left out."""


class Extension(Section):
    """Room for new languages in a pretrained model, whose other directions stay as they are, bit by bit."""

    pieces: int = Field(default=0, ge=0)
    """Largest number of new pieces of the vocabulary, learned from the training text of the new languages: each has a
    character that the model could not write before. For tokenizers with a Unigram model only."""
    widen: int = Field(default=0, ge=0)
    """Number of new neurons in every FFN layer, in addition to those that no direction uses."""
    masks: Path | None = None
    """Neuron masks of the directions that the model has; by default those next to the model. Without any, every neuron
    counts as used by the directions of `proof`. Relative to the working directory."""
    reads: Literal["all", "shared", "none"] = "all"
    """Neurons of other directions that the new ones read without changing them: `all` that any of them uses, `shared`
    those of directions with the same source (encoder) or target (decoder), or `none`."""
    max_free: int | None = Field(default=None, ge=0)
    """Largest number of unused neurons of a layer that the new directions take, those of `widen` aside; null: all."""
    min_neurons: int = Field(default=16, ge=0)
    """Smallest number of neurons that they must have for themselves in every layer; with fewer, the run stops before
    training and says how many to add with `widen`."""
    proof: dict[Direction, str] = {}
    """Text of the other directions, which proves that nothing has changed: a file of sentence pairs for each. By
    default the validation text of the run that the model comes from. Relative to the working directory."""
    sentences: int = Field(default=100, ge=1)
    """Largest number of sentences of each direction in the proof."""


class Model(Section):
    """The model to train: a preset or a pretrained model."""

    preset: Annotated[str | None, Registered("neuronspec.models.presets", "PRESETS")] = None
    """Architecture of a model that is built from scratch."""
    pretrained: str | None = None
    """Hugging Face encoder-decoder to start from instead of a preset: a directory or a name on the hub."""
    revision: str | None = None
    """Revision of a pretrained model on the hub."""
    source_prefix: str | dict[str, str] | None = None
    """Words in front of each source, for a model without language tags, such as
    `"translate {src_name} to {tgt_name}: "`, with `{src}`, `{tgt}` (codes) and `{src_name}`, `{tgt_name}` (English
    names); or such words for each direction: `{de-en: "translate German to English: "}`."""
    activation: Literal["relu", "gelu"] = "relu"
    """Activation function of the FFN, for presets."""
    embeddings: Literal["separate", "shared"] = "separate"
    """Sharing of embeddings, for presets. `separate`: the decoder's input and output share one matrix and the encoder
    has its own, as in the paper; `shared`: one matrix for all three."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout and attention dropout; by default the preset's."""
    extend: Extension | None = None
    """Room for new languages in a pretrained model, for the method `add_language`: the options below."""

    @model_validator(mode="after")
    def _one_origin(self) -> Model:
        # Nothing to train, or two models to choose from
        if (self.preset is None) == (self.pretrained is None):
            raise ValueError("give exactly one of model.preset and model.pretrained")

        # Models from presets read a tag for each language.
        if self.source_prefix is not None and self.pretrained is None:
            raise ValueError("model.source_prefix is for a pretrained model; one of a preset has language tags")

        # A new model has nothing that must stay.
        if self.extend is not None and self.pretrained is None:
            raise ValueError("model.extend is for a pretrained model; one of a preset learns all languages at once")

        return self


class Training(Section):
    """Budget, optimizer and schedule of one training."""

    updates: int = Field(default=100_000, ge=0)
    """Maximum number of optimizer updates; 0 skips training."""
    batches_per_update: int = Field(default=1, ge=1)
    """Number of batches whose gradients make one update, over all processes together."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """Peak learning rate."""
    warmup: int = Field(default=4_000, ge=0)
    """Number of updates over which the learning rate rises from 0."""
    schedule: Literal["inverse_sqrt", "constant"] = "inverse_sqrt"
    """Learning rate schedule after the warm-up."""
    decay: float = Field(default=0.0, ge=0, le=1)
    """Share of the updates, at the end, over which the learning rate falls linearly to 0."""
    adam_betas: tuple[Decay, Decay] = (0.9, 0.98)
    """Decay rates of Adam's moments."""
    adam_epsilon: float = Field(default=1e-9, gt=0)
    """Epsilon of Adam (the released code uses 1e-6)."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    max_gradient_norm: float | None = Field(default=None, gt=0)
    """Norm to which gradients are clipped; null: no clipping."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Label smoothing: probability spread evenly over the vocabulary, including the correct token (which fairseq
    excludes)."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the computation; `auto`: bf16 on GPUs that support it, fp32 elsewhere."""
    validate_every: int = Field(default=500, ge=1)
    """Number of updates between validations."""
    patience: int | None = Field(default=20, ge=1)
    """Number of validations without a lower loss after which training stops; null: never."""
    checkpoint_every: int | None = Field(default=None, ge=1)
    """Number of updates between checkpoints; null: one with each validation."""
    keep_checkpoints: Annotated[int, NO_EFFECT] = Field(default=2, ge=1)
    """Number of the newest checkpoints to keep, in addition to the best one."""
    select: Literal["best", "last"] = "best"
    """Checkpoint that becomes the model."""
    report_to: Annotated[list[Literal["tensorboard", "wandb"]], NO_EFFECT] = []
    """Trackers to report to, in addition to the JSON-lines log."""


def _share_or_auto(k: Any) -> Any:
    # One check for both, since pydantic would report a failure of each type in the union.
    if k != "auto" and (isinstance(k, bool) or not isinstance(k, int | float) or not 0 <= k <= 1):
        raise ValueError("must be a share from 0 to 1, or auto")
    return k


class Recording(Section):
    """Counting of activations on the validation text (paper, section 3.1)."""

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
    """Whether the mean activation of each neuron is kept as well."""
    states: bool = False
    """Whether to keep which neurons each sentence activated (one bit for each neuron and sentence)."""
    tokens_per_batch: Annotated[int, NO_EFFECT] = Field(default=8_192, ge=8)
    """Number of tokens in a batch, with padding; counts depend on it only through rounding."""


class Selection(Section):
    """Selection of the specialized neurons (paper, section 3.1)."""

    rule: Annotated[str, Registered("neuronspec.neurons.rules", "RULES")] = "coverage"
    """Selection rule: `coverage` is the paper's (Eq. 1), `top` takes the share k of each layer, `random` as many as
    `coverage` at random, `lape` those that few tasks use (Tang et al., 2024), `released` as the released code computes
    Eq. 1."""
    k: Annotated[float | Literal["auto"], BeforeValidator(_share_or_auto)] = 0.95
    """Share of the activation that the selected neurons must cover (Eq. 1); `auto`: the smallest one with which the
    masked, untrained model loses no more than `auto_k_tolerance` on the validation text."""
    encoder_k: Share | None = None
    """Share k for the encoder, if another one."""
    decoder_k: Share | None = None
    """Share k for the decoder, if another one."""
    layer_k: dict[str, Share] = {}
    """Share k for single layers, if another one: `{decoder.5: 0.8}`."""
    auto_k_tolerance: float = Field(default=0.01, ge=0)
    """Largest relative rise of the validation loss that `k: auto` accepts."""
    options: dict[str, int | float] = {}
    """Options of the rule: `seed` of `random`; `share` and `bar` of `lape`."""

    @model_validator(mode="after")
    def _search_where_there_is_a_k(self) -> Selection:
        if self.k == "auto" and self.rule == "lape":
            raise ValueError("select.k: the rule lape has no k to search for")
        return self


# Imported by name when needed: translation is built on the configuration.
_ENGINES = "neuronspec.translation.engines"


def _resolve_engine(name: Any) -> Any:
    """Return the registered name of an engine, which may have short ones; any other value as it is."""
    # The default is known without the registry: most configurations need no import.
    if not isinstance(name, str) or name == "transformers":
        return name

    try:
        return importlib.import_module(_ENGINES).resolve_engine(name)
    except NeuronspecError:
        # An unknown name is reported with the other unregistered names.
        return name


class Translation(Section):
    """Decoding of translations."""

    beams: int = Field(default=5, ge=1)
    """Beam size (paper: 5)."""
    length_penalty: float = 1.0
    """Exponent of the length by which a hypothesis' log-probability is divided (paper: 1)."""
    max_tokens: int = Field(default=200, ge=1)
    """Maximum number of tokens in an output."""
    early_stopping: bool | None = None
    """Whether a beam search stops as soon as it has as many finished hypotheses as beams, as fairseq does, or (false)
    only when no better hypothesis is possible. null: the setting of a pretrained model's generation configuration;
    false for models built from a preset."""
    too_long: TooLong = "cut"
    """Handling of sentences that are longer than the model can read: `cut` cuts off the end, `skip` leaves the
    translation empty, `error` stops the run before any work."""
    tokens_per_batch: int = Field(default=4_096, ge=8)
    """Number of source tokens in a batch, with padding, times the number of beams."""
    engine: Annotated[str, BeforeValidator(_resolve_engine), Registered(_ENGINES, "ENGINES")] = "transformers"
    """Engine that decodes; `ctranslate2` (an extra) is faster on CPUs. Both apply masks."""
    compute_type: str = "default"
    """Precision of ctranslate2: `default` (that of the weights), `int8`, `float16` ..."""

    @model_validator(mode="after")
    def _precision_of_an_engine(self) -> Translation:
        if self.compute_type == "default":
            return self

        # An unknown engine is left for the check of its own key.
        engines = importlib.import_module(_ENGINES).ENGINES
        if self.engine in engines and "compute_type" not in engines[self.engine].options:
            able = [name for name, engine in engines.items() if "compute_type" in engine.options]
            raise ValueError(f"translate.compute_type is for engine: {' or '.join(able)}")
        return self


class Scoring(Section):
    """Scoring of translations and comparison of systems."""

    metrics: Annotated[
        list[str], AfterValidator(check_once), Registered("neuronspec.evaluation.metrics", "METRICS")
    ] = Field(default=["bleu", "chrf"], min_length=1)
    """Metrics: `bleu`, `chrf` (chrF++) and `ter` through sacrebleu, `spbleu` (needs `sentencepiece`), `tokenized_bleu`
    (needs sacremoses), `comet` (needs an environment of its own, see docs/evaluation.md)."""
    sentencepiece: Path | None = None
    """SentencePiece model of `spbleu`. Relative to the working directory."""
    comet_model: str = "Unbabel/wmt22-comet-da"
    """Model of `comet`: a name on the hub, a checkpoint file, or a directory with `checkpoints/model.ckpt`."""
    identifier: Annotated[str, Registered("neuronspec.evaluation.identifiers", "IDENTIFIERS")] = "py3langid"
    """Language identifier that finds translations in another language than the target: `py3langid`, or one of your own
    (docs/extending.md)."""
    levels: dict[str, Annotated[list[LanguageCode], AfterValidator(check_languages_once)]] = {}
    """Groups of languages that tables average over, by resource level: `{high: [de, fr], low: [lb]}`. By default those
    of EC30, if all languages are among its thirty."""
    trials: int = Field(default=10_000, ge=100)
    """Number of trials of the paired approximate randomization test."""
    correction: Annotated[str, Registered("neuronspec.statistics.corrections", "CORRECTIONS")] = "holm"
    """Correction of p-values for the number of tests in a family: `holm` (every single claim should hold), `bh`
    (Benjamini-Hochberg: a known share of the claims may be false) or `none`."""

    @field_validator("levels")
    @classmethod
    def _each_language_once(cls, levels: dict[str, list[str]]) -> dict[str, list[str]]:
        check_levels(levels)
        return levels

    @model_validator(mode="after")
    def _pieces_where_they_are_needed(self) -> Scoring:
        # A model that no metric reads would change nothing.
        if ("spbleu" in self.metrics) != (self.sentencepiece is not None):
            raise ValueError("score.sentencepiece: give it with the metric spbleu, and only with it")
        return self


class Reporting(Section):
    """Presentation of the results."""

    significance: float = Field(default=0.05, gt=0, lt=1)
    """Significance level: corrected p-value up to which a difference is marked."""


def _none_or_enough(resamples: int) -> int:
    # No p-value is smaller than 1 / (1 + resamples).
    if resamples and resamples < 19:
        raise ValueError("must be 0, or 19 or more: with fewer no p-value could be 0.05")
    return resamples


class Analysis(Section):
    """Measurements of the selected neurons."""

    encoder: Literal["to", "from"] = "to"
    """Tasks that are compared in the encoder: x-pivot (`to`, as in the paper) or pivot-x (`from`)."""
    decoder: Literal["to", "from"] = "from"
    """Tasks that are compared in the decoder: pivot-x (`from`, as in the paper) or x-pivot (`to`)."""
    shares: Annotated[list[Share], AfterValidator(check_once)] = [0.5, 0.7, 0.8, 0.9, 0.95, 0.99]
    """Values of k at which overlaps are measured in addition to the chosen one."""
    permutations: int = Field(default=1_999, ge=99)
    """Number of permutations of each test of what the overlaps follow."""
    resamples: Annotated[int, AfterValidator(_none_or_enough)] = 200
    """Number of resamples of the sentences, for intervals and null distributions: 19 or more, or 0 for none. Needs
    `record.states`."""
    uriel: Annotated[
        list[Literal["genetic", "geographic", "syntactic", "phonological", "inventory", "featural"]],
        AfterValidator(check_once),
    ] = []
    """Distances between languages from URIEL that are tested as well (needs lang2vec)."""
    distances: dict[str, Path] = {}
    """Distances of your own that are tested as well, by name: square CSV tables headed by language codes. Relative to
    the working directory."""
    against: dict[str, Path] = {}
    """Masks of other runs of the same tasks, by name, such as those of another seed, to compare overlaps with."""
    examples: int = Field(default=5, ge=0)
    """Number of example sentences for each neuron; 0: none."""
    figures: bool = True
    """Whether figures are drawn, which takes a few seconds for each layer with 200 languages. The report shows the
    overlaps in any case."""
    released: bool = False
    """Whether heat maps are also drawn with the transform of the released code (IoU ** 1.25), under that name."""

    @property
    def sides(self) -> dict[str, Literal["to", "from"]]:
        """The pivot's side in the tasks that are compared, by stack."""
        return {"encoder": self.encoder, "decoder": self.decoder}


class AblationOptions(Section):
    """Ablation: each language's own neurons, and those of the other languages, are switched off."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of each layer's neurons to switch off; not used with `masks`."""
    masks: Path | None = None
    """Masks whose neurons are each task's own, such as LAPE's or imported ones; by default, `share` chooses them."""
    draws: int = Field(default=3, ge=1)
    """Number of random sets of as many neurons to compare with."""
    sentences: int = Field(default=200, ge=1)
    """Number of validation sentences of each task to measure on."""
    metric: Literal["loss", "chrf"] = "loss"
    """Measure of the harm: the validation `loss`, or `chrf` (chrF++) of translations, which takes much longer."""
