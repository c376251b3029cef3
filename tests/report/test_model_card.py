"""The card of a trained model, for names of any kind."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import yaml
from tests.plain_program import find_code

from neuronspec.methods.add_language.proof import AdditionProof, TaskProof
from neuronspec.models.plain_use import PlainUse
from neuronspec.report.model_card import DirectionScores, ModelCard, TrainingFacts, list_iso_codes, make_model_card
from neuronspec.report.model_usage import MissingPart, ModelUsage
from neuronspec.terminal import CONTROL

HOSTILE = "](http://x) <b>|`` `a`\n---\n\x1b[2J\u202e\\"
USAGE = ModelUsage(
    task="de-en",
    plain=PlainUse(language=None, prefix="__de__ ", start=("</s>", "__en__")),
    part=None,
    search={},
    beams=5,
    forced="nothing",
    has_own_embeddings=False,
    source_prefix="",
)
CARD = ModelCard(
    title="mine: fine-tuned",
    about=["A translation model."],
    base_model="",
    tags={"de": "__de__", "en": "__en__", "xx1": ""},
    directions=["de-en"],
    unseen=[],
    corpora=["corpus.{lang}.tsv"],
    sizes={"train": {"en-de": 1200}, "valid": {"en-de": 20}, "test": {"en-de": 30}},
    text_hash="abc",
    trainings=[TrainingFacts(name="pretrained", updates=10, published=8, batch=4096, learning_rate=1e-3, seed=1)],
    scores=[DirectionScores(task="de-en", zero_shot=False, sentences=30, scores={"BLEU": 12.34})],
    signatures=["BLEU: `nrefs:1`"],
    usage=USAGE,
    version="1.2.3",
)


PROOF = AdditionProof(
    languages=("lt",),
    tasks=("en-lt",),
    base_model="mine/model",
    tensors=92,
    weights_before="ab" * 32,
    weights_after="ab" * 32,
    vocabulary_before=4007,
    vocabulary=5008,
    widths_before={"encoder.0": 512},
    widths={"encoder.0": 576},
    free={"encoder.0": 70},
    own={"encoder.0": 64},
    trained=12345,
    directions=(TaskProof(task="de-en", sentences=100, before="cd" * 32, after="cd" * 32, translations="ef" * 32),),
)


def make(**changes: Any) -> str:
    return make_model_card(dataclasses.replace(CARD, **changes))


def use(**changes: Any) -> str:
    return make(usage=dataclasses.replace(USAGE, **changes))


def front_matter(card: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return values


def test_a_card_says_what_is_known() -> None:
    card = make()
    assert front_matter(card) == {
        "language": ["de", "en"],
        "library_name": "transformers",
        "pipeline_tag": "translation",
        "tags": ["neuronspec", "translation"],
    }
    for said in (
        "# mine: fine-tuned",
        "| German | `de` | `__de__` |",
        "| xx1 | `xx1` |  |",
        "Trained directions: `de-en`.",
        "| `de-en` | 30 | 12.3 |",
        "- BLEU: `nrefs:1`",
        "| `en-de` | 1,200 | 20 | 30 |",
        "Corpora: `corpus.{lang}.tsv`.",
        "SHA-256 of the prepared text: `abc`",
        "| pretrained | 10 | 8 | 4,096 | 0.001 | 1 |",
        "Trained with neuronspec 1.2.3.",
        "EMNLP 2024",
        "$ neuronspec translate --model . de-en --beams 5 --input SOURCES --to TRANSLATIONS",
    ):
        assert said in card, said


def test_a_card_without_scores_or_training_says_so() -> None:
    assert "This model has not been scored yet." in make(scores=[], signatures=[])
    assert "Nothing was trained." in make(trainings=[])


def test_unseen_directions_and_a_base_model_are_named() -> None:
    scores = [DirectionScores(task="de-fr", zero_shot=True, sentences=3, scores={"BLEU": 1.0})]
    card = make(unseen=["de-fr"], scores=scores, base_model="facebook/nllb-200-distilled-600M")
    assert "Tested without training (zero-shot): `de-fr`." in card
    assert "| `de-fr` (zero-shot) | 3 | 1.0 |" in card
    assert front_matter(card)["base_model"] == "facebook/nllb-200-distilled-600M"


def test_the_code_follows_what_the_tokenizer_needs() -> None:
    (code,) = find_code(use())
    assert '["__de__ " + sentence for sentence in sentences]' in code
    assert 'start = tokenizer.convert_tokens_to_ids(["</s>", "__en__"])' in code
    assert "`src_lang` and `tgt_lang` have no effect" in use()

    nllb = use(plain=PlainUse(language="deu_Latn", prefix="", start=("</s>", "eng_Latn")), search={"num_beams": 4})
    (code,) = find_code(nllb)
    assert 'tokenizer.src_lang = "deu_Latn"' in code
    assert "tokenizer(sentences, " in code
    assert code.rstrip().splitlines()[-2].endswith(", num_beams=4)")
    assert "have no effect" not in nllb

    words = use(plain=PlainUse(language=None, prefix="say it: ", start=()), source_prefix='"say {tgt}: "')
    assert '`source_prefix` in `config.json` is `"say {tgt}: "`' in words
    (code,) = find_code(words)
    assert "model.generate(**inputs)" in code
    assert "torch" not in code
    assert find_code(use(plain=None)) == []


def test_what_happens_without_a_target_is_said() -> None:
    assert "Without either, the model chooses a language by itself." in use()
    assert "`model.generate(**inputs)` translates into English" in use(forced="target")
    assert "`generation_config.json` decides" in use(forced="else")


def test_a_model_that_others_load_in_part_says_so_first() -> None:
    card = use(part=MissingPart(file="lora.safetensors", code="export()\n"))
    assert card.index("loads only a part") < card.index("A translation model.") < card.index("## Use")
    assert "`lora.safetensors`" in card
    assert find_code(card) == ["export()\n"]
    assert front_matter(card)["library_name"] == "neuronspec"
    assert "There is no way" in use(part=MissingPart(file="adapters.safetensors"))
    masked = use(part=MissingPart(file="neuron_masks.safetensors", command="neuronspec export . --task de-en"))
    assert "```console\n$ neuronspec export . --task de-en\n```" in masked


@pytest.mark.parametrize(
    "part", [None, MissingPart(file=HOSTILE, code="export()"), MissingPart(file=HOSTILE, command="neuronspec export .")]
)
def test_a_card_of_any_names_is_sound(part: MissingPart | None) -> None:
    usage = dataclasses.replace(
        USAGE, plain=PlainUse(language=HOSTILE, prefix=HOSTILE, start=(HOSTILE, HOSTILE)), part=part
    )
    card = make_model_card(
        dataclasses.replace(
            CARD,
            title=HOSTILE,
            base_model=HOSTILE,
            tags={"de": HOSTILE},
            corpora=[HOSTILE],
            text_hash=HOSTILE,
            trainings=[dataclasses.replace(CARD.trainings[0], name=HOSTILE)],
            scores=[DirectionScores(task="de-en", zero_shot=False, sentences=1, scores={HOSTILE: 1.0})],
            usage=dataclasses.replace(usage, source_prefix=HOSTILE),
        )
    )
    assert front_matter(card)["base_model"] == HOSTILE
    assert not any(CONTROL.search(line) for line in card.split("\n"))
    prose = re.sub(r"(?ms)^```.*?^```$", "", card.partition("\n---\n")[2])
    assert "<b>" not in re.sub(r"(`+).*?(?<!`)\1(?!`)", "", prose)
    for code in find_code(card):
        compile(code, "<card>", "exec")

    # Every row of a table has as many cells as its heading.
    for table in re.findall(r"(?:^\|.*\n)+", card, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_codes_are_iso_codes_where_they_are_known() -> None:
    assert list_iso_codes(["eng_Latn", "zho_Hans", "zh_Hant", "pt-BR", "hsb", "xx1", "ceb"])[:3] == ["en", "zh", "pt"]
    assert "xx1" not in list_iso_codes(["xx1"])
    assert "ceb" in list_iso_codes(["ceb"])


def test_a_card_shows_the_proof_that_an_added_language_changed_nothing_else() -> None:
    card = make(addition=PROOF)
    assert "| `encoder.0` | 512 | 576 | 70 | 64 |" in card
    assert f"| `de-en` | 100 | `{'cd' * 8}` | `{'cd' * 8}` | `{'ef' * 8}` |" in card
    assert f"is `{'ab' * 32}`, and after `{'ab' * 32}`" in card
    assert "12,345 parameters" in card
    assert "Added languages" not in make()


def test_names_in_a_proof_are_no_markup() -> None:
    hostile = dataclasses.replace(PROOF, base_model=HOSTILE, widths={HOSTILE: 3})
    card = make(addition=hostile)
    assert not CONTROL.search(card.replace("\n", ""))
    assert "\n---\n" not in card.split("## Added languages")[1]
