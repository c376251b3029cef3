"""Exports and imported models, opened by stock libraries in environments in which this package is not installed.

    python -m tests.stock.check --peft PYTHON --ct2 PYTHON [--run RUN]

PYTHON is the interpreter of an environment: one with torch, transformers and peft, one with ctranslate2, transformers
and sentencepiece. Small random models of all families are exported here, and what their masked models answer is noted;
then each environment runs the programs on the cards, and answers by itself. `make stock` does all of this.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.exports.families import ARCHITECTURES, DECODERS, TASKS, TEXTS, make_decoder, make_encoder_decoder
from tests.models.fairseq.golden_models import GOLDEN, read_golden, write_checkpoint
from tests.stock.cases import Case, Source, make_ct2_cases, make_torch_cases
from tests.translation.talkative_models import make_masks
from transformers import PreTrainedModel

from benchmarks.inference import write_training_text
from neuronspec.errors import NeuronspecError
from neuronspec.models import import_fairseq
from neuronspec.pipeline.export_source import open_export_source, read_export_text
from neuronspec.pipeline.run import open_run

OUTSIDE = Path(__file__).with_name("outside.py")
WORDS = ["a b c d", "word b", "hello a b", "d c b a e", "world hello", "e e a", "c word d"]
TRAINED = "trained"  # name of the model of a run
LARGEST_DIFFERENCE = 1e-4  # of a logit from fairseq's own
FAIRSEQ_LIMIT = 60  # tokens of a translation in the golden searches


def main() -> None:
    parser = argparse.ArgumentParser(description="Open exports with stock libraries alone.")
    parser.add_argument("--peft", required=True, help="interpreter with torch, transformers and peft")
    parser.add_argument("--ct2", required=True, help="interpreter with ctranslate2, transformers and sentencepiece")
    parser.add_argument("--run", help="finished run with masks, which is exported too")
    parser.add_argument("--task", default="de-en", help="direction of the run")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        sources = make_sources(out)
        if options.run:
            sources.append(read_run(options.run, options.task))
        in_torch = [case for source in sources for case in make_torch_cases(source, out)] + import_models(out)

        in_ct2 = []
        for source in sources:
            if source.model.config.is_encoder_decoder:
                in_ct2 += make_ct2_cases(source, out, write_texts(source, out, options.run))

        problems = compare(in_torch, ask(options.peft, in_torch, out), needs="peft")
        problems += compare(in_ct2, ask(options.ct2, in_ct2, out), needs="ctranslate2")

    print("\n".join(problems) or "all equal")
    sys.exit(bool(problems))


# What is exported


def make_sources(out: Path) -> list[Source]:
    """Return small random models of all families, saved."""
    sources = []
    for family in (*ARCHITECTURES, *DECODERS):
        scratch, directory = out / f"{family}.files", out / family
        scratch.mkdir()
        model, tokenizer = (make_decoder if family in DECODERS else make_encoder_decoder)(family, scratch)
        forbid_nameless(model, len(tokenizer))
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        sources.append(
            Source(
                name=family,
                model=model,
                tokenizer=tokenizer,
                masks=make_masks(model, TASKS),
                directory=directory,
                sentences={task: [*TEXTS, *WORDS] for task in TASKS},
                max_tokens=12,
            )
        )
    return sources


def forbid_nameless(model: PreTrainedModel, tokens: int) -> None:
    """Keep an untrained model from writing ids that have no token, which a trained one never does."""
    model.get_output_embeddings().weight.data[tokens:] = 0


def read_run(directory: str, task: str) -> Source:
    """Return the trained model of a run."""
    run = open_run(directory)
    opened = open_export_source(run)
    assert opened.masks is not None
    return Source(
        name=TRAINED,
        model=opened.model,
        tokenizer=opened.tokenizer,
        masks=opened.masks,
        directory=opened.directory,
        sentences=read_export_text(run, [task], 50),
        max_tokens=60,
    )


def write_texts(source: Source, out: Path, run: str | None) -> dict[str, Path]:
    """Write the text to which the vocabulary is trimmed: a run's own, or half of the sentences for both languages."""
    task, *_ = source.sentences
    if source.name == TRAINED:
        folder = out / "text"
        folder.mkdir()
        return write_training_text(open_run(str(run)), [task], folder)

    texts = {}
    for language in task.split("-"):
        texts[language] = out / f"{source.name}.{language}"
        texts[language].write_text("".join(f"{text}\n" for text in source.sentences[task][::2]), encoding="utf-8")
    return texts


def import_models(out: Path) -> list[Case]:
    """Import checkpoints of fairseq, and return what fairseq itself computes with them."""
    cases = []
    for number, name in enumerate(read_golden()):
        golden, directory = read_golden()[name], out / f"{name}.imported"
        dictionary, spm = (GOLDEN / f"{golden['model']}.{ending}" for ending in ("dict.txt", "model"))
        checkpoint = write_checkpoint(out / f"{name}.pt", name)
        try:
            # The first one by the command; the start of a process takes longer than the import.
            (import_by_command if number == 0 else import_here)(checkpoint, dictionary, spm, directory)
        except NeuronspecError as error:  # what transformers cannot express
            print(f"{name} is refused: {error}")
            continue
        cases.append(describe_import(name, golden, directory))
    return cases


def import_by_command(checkpoint: Path, dictionary: Path, spm: Path, out: Path) -> None:
    words = ["import", checkpoint, "--dict", dictionary, "--spm", spm, "--out", out]
    subprocess.run([sys.executable, "-m", "neuronspec", *map(str, words)], check=True)


def import_here(checkpoint: Path, dictionary: Path, spm: Path, out: Path) -> None:
    import_fairseq(checkpoint, dictionary, out, spm=spm)


def describe_import(name: str, golden: dict[str, Any], directory: Path) -> Case:
    """Return the case of an imported model."""
    has_tag = golden["settings"]["decoder_langtok"]
    rows = [
        {
            **{"source": row["source"], "target": row["hyps"][0], "logits": row["logits"]},
            "forced": row["hyps"][0][0] if has_tag else None,
        }
        for row in golden["rows"]
    ]
    return {
        **{"name": f"imported {name}", "kind": "logits", "card": None, "adapter": None, "rows": rows},
        **{"loader": "AutoModelForSeq2SeqLM", "model": str(directory), "tokenizer": str(directory)},
    }


# What stock libraries answer


def ask(python: str, cases: list[Case], out: Path) -> dict[str, Any]:
    """Let an environment answer all cases."""
    questions, answers = out / "cases.json", out / "answers.json"
    questions.write_text(json.dumps(cases), encoding="utf-8")
    # -I: neither this directory nor PYTHONPATH can lend it this package.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run(
        [python, "-I", "-W", "ignore", str(OUTSIDE), str(questions), str(answers)], env=environment, check=True
    )
    found: dict[str, Any] = json.loads(answers.read_text(encoding="utf-8"))
    return found


def compare(cases: list[Case], found: dict[str, Any], *, needs: str) -> list[str]:
    """Print what is equal, and return what is not."""
    libraries = found["libraries"]
    print(", ".join(f"{name} {version}" for name, version in libraries.items()))
    problems = []
    if needs not in libraries or "neuronspec" in libraries:
        problems.append(f"the environment must have {needs} and must not have neuronspec")
    for case, answer in zip(cases, found["answers"], strict=True):
        compare_one = compare_logits if case["kind"] == "logits" else compare_answers
        problems += [f"{case['name']}: {problem}" for problem in compare_one(case, answer["facts"])]
    return problems


def compare_answers(case: Case, facts: dict[str, Any]) -> list[str]:
    """Compare tokens with those of the masked model, and what the card's program prints with its texts."""
    rows = facts["tokens" if case["kind"] == "ct2" else "ids"]
    total = len(case["sentences"])
    problems, counts = [], []
    for beams in case["beams"]:
        found, ends = rows[str(beams)], case["ends"]
        equal, like_masked = (count_equal(case[side][beams], found, ends) for side in ("expected", "masked"))
        counts.append(f"beam {beams}: {equal} of {total}, {like_masked} like the masked model")
        if equal < total:
            problems.append(f"{total - equal} of {total} answers differ with a beam of {beams}")
        # Rounding decides now and then within a beam of CTranslate2.
        if case["exact"] and like_masked < total and not (case["kind"] == "ct2" and beams > 1):
            problems.append(
                f"{total - like_masked} of {total} answers are not those of the masked model (beam {beams})"
            )

    card = case["card"]
    if card is not None:
        wanted = card["expected"] if card["expected"] is not None else ["PeftModelForSeq2SeqLM", "PeftModelForCausalLM"]
        printed = facts["card"]
        is_right = printed == wanted if card["expected"] is not None else printed[0] in wanted
        counts.append("card equal" if is_right else "card differs")
        if not is_right:
            problems.append(f"the program on the card printed {printed!r:.200}, expected {wanted!r:.200}")
    print(f"{case['name']}: {'; '.join(counts)}")
    return problems


def count_equal(expected: Sequence[list[Any]], found: Sequence[list[Any]], ends: list[Any]) -> int:
    pairs = zip(expected, found, strict=True)
    return sum(cut(one, ends) == cut(other, ends) for one, other in pairs)


def cut(row: list[Any], ends: list[Any]) -> list[Any]:
    """Cut a sentence where it ends; what follows is padding."""
    end = next((place for place, token in enumerate(row) if token in ends), len(row))
    return row[:end]


def compare_logits(case: Case, facts: dict[str, Any]) -> list[str]:
    """Compare an imported model's logits and searches with fairseq's own."""
    worst = max(
        abs(one - other)
        for row, logits in zip(case["rows"], facts["logits"], strict=True)
        if row["logits"]
        for one, other in zip(row["logits"], logits, strict=False)
    )
    # Fairseq ends in another way what reaches its limit of length.
    pairs = zip(case["rows"], facts["ids"], strict=True)
    searches = [row["target"] == ids for row, ids in pairs if len(row["target"]) < FAIRSEQ_LIMIT]
    differing = searches.count(False)
    print(
        f"{case['name']}: logits within {worst:.1e}; beam 5: {searches.count(True)} of {len(searches)}; "
        f"{facts['tokenizer']}"
    )
    problems = []
    if worst > LARGEST_DIFFERENCE:
        problems.append(f"a logit differs by {worst:.1e} from fairseq's")
    if differing:
        problems.append(f"{differing} of {len(searches)} searches differ from fairseq's")
    return problems


if __name__ == "__main__":
    main()
