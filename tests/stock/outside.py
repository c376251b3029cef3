"""The side of the check that has stock libraries alone: it opens exports, runs the programs of their cards, answers.

    python -I outside.py CASES ANSWERS

Runs in an environment without this package, so it imports nothing of it, and each library only where it is needed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("neuronspec", "torch", "transformers", "peft", "ctranslate2", "sentencepiece", "tokenizers")


def main(cases_file: str, answers_file: str) -> None:
    cases: list[dict[str, Any]] = json.loads(Path(cases_file).read_text(encoding="utf-8"))
    answers = [{"name": case["name"], "facts": answer_case(case)} for case in cases]
    found = {"libraries": list_libraries(), "answers": answers}
    Path(answers_file).write_text(json.dumps(found), encoding="utf-8")


def list_libraries() -> dict[str, str]:
    """Return the versions of the libraries that can be imported here; whatever is missing is left out."""
    present = [name for name in LIBRARIES if importlib.util.find_spec(name) is not None]
    return {name: metadata.version(name) for name in present}


def answer_case(case: dict[str, Any]) -> dict[str, Any]:
    kinds = {"translate": translate, "continue": continue_texts, "ct2": translate_ct2, "logits": compute_logits}
    facts: dict[str, Any] = kinds[case["kind"]](case)
    if case["card"] is not None:
        facts["card"] = run_card(case["card"])
    return facts


# The programs on the cards


def run_card(card: dict[str, Any]) -> list[str]:
    """Run the program of a card in the directory of its export: as it stands, and with other sentences.

    Returns:
        What the second run prints; for an adapter, whose program prints nothing, the class that it makes.
    """
    text = Path(card["directory"], "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)
    names, printed = execute(code, card["directory"])
    if card["sentences"] is None:
        return printed.splitlines() or [type(names["model"]).__name__]

    code, replaced = re.subn(r"(?m)^sentences = .*$", f"sentences = {card['sentences']!r}", code)
    assert replaced == 1
    return [str(line).strip() for line in json.loads(execute(in_json(code), card["directory"])[1])]


def in_json(code: str) -> str:
    """Return a program that prints what it prints as JSON."""
    code, replaced = re.subn(r"(?m)^print\((.*)\)$", r"print(__import__('json').dumps(\1))", code)
    assert replaced == 1
    return code


def execute(code: str, directory: str) -> tuple[dict[str, Any], str]:
    names: dict[str, Any] = {}
    output = io.StringIO()
    with contextlib.chdir(directory), contextlib.redirect_stdout(output):
        exec(compile(code, "card", "exec"), names)
    return names, output.getvalue()


# Answers, as tokens


def load_model(case: dict[str, Any]) -> Any:
    import transformers

    model: Any = getattr(transformers, case["loader"]).from_pretrained(case["model"])
    if case["adapter"] is not None:
        import peft

        model = peft.PeftModel.from_pretrained(model, case["adapter"])
    return model.eval()


def load_tokenizer(case: dict[str, Any]) -> Any:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(case["tokenizer"])
    if case.get("language") is not None:
        tokenizer.src_lang = case["language"]
    return tokenizer


def translate(case: dict[str, Any]) -> dict[str, Any]:
    import torch

    model, tokenizer = load_model(case), load_tokenizer(case)
    inputs = tokenizer([case["prefix"] + text for text in case["sentences"]], padding=True, return_tensors="pt")
    if case["start"]:
        start = tokenizer.convert_tokens_to_ids(case["start"])
        inputs["decoder_input_ids"] = torch.tensor([start] * len(case["sentences"]))

    found = {}
    for beams in case["beams"]:
        search = {"num_beams": beams, **({"early_stopping": True} if beams > 1 else {})}
        output = model.generate(**inputs, max_new_tokens=case["max_tokens"], do_sample=False, **search)
        found[str(beams)] = output[:, len(case["start"]) or 1 :].tolist()
    return {"ids": found}


def continue_texts(case: dict[str, Any]) -> dict[str, Any]:
    model, tokenizer = load_model(case), load_tokenizer(case)
    found: dict[str, list[list[int]]] = {}
    for beams in case["beams"]:
        search = {"num_beams": beams, **({"early_stopping": True} if beams > 1 else {})}
        found[str(beams)] = []
        for text in case["sentences"]:
            inputs = tokenizer(text, return_tensors="pt")
            output = model.generate(**inputs, max_new_tokens=case["max_tokens"], do_sample=False, **search)
            found[str(beams)].append(output[0, inputs["input_ids"].shape[1] :].tolist())
    return {"ids": found}


def translate_ct2(case: dict[str, Any]) -> dict[str, Any]:
    ctranslate2 = importlib.import_module("ctranslate2")

    tokenizer = load_tokenizer(case)
    translator = ctranslate2.Translator(case["model"])
    texts = [case["prefix"] + text for text in case["sentences"]]
    sources = [tokenizer.convert_ids_to_tokens(ids) for ids in tokenizer(texts)["input_ids"]]

    given = len(case["start"])
    found = {}
    for beams in case["beams"]:
        results = translator.translate_batch(
            sources,
            target_prefix=[case["start"]] * len(sources) if given else None,
            beam_size=beams,
            num_hypotheses=beams,
            return_scores=True,
            return_end_token=True,
            **case["search"],
        )
        found[str(beams)] = [choose_best(result, given) for result in results]
    return {"tokens": found}


def choose_best(result: Any, given: int) -> list[str]:
    """Return the tokens of the best hypothesis when those that were given do not count in its length."""
    lengths = [len(tokens) for tokens in result.hypotheses]
    scores = [score * n / max(n - given, 1) for score, n in zip(result.scores, lengths, strict=True)]
    best: list[str] = result.hypotheses[scores.index(max(scores))][given:]
    return best


# Imported models


def compute_logits(case: dict[str, Any]) -> dict[str, Any]:
    """Return the last logits of each row, and what a search with five beams writes."""
    import torch

    model, tokenizer = load_model(case), load_tokenizer(case)
    logits, written = [], []
    for row in case["rows"]:
        source = torch.tensor([row["source"]])
        target = torch.tensor([[model.config.decoder_start_token_id, *row["target"][:-1]]])
        inputs = {"input_ids": source, "attention_mask": torch.ones_like(source)}
        with torch.no_grad():
            last = model(**inputs, decoder_input_ids=target).logits[0, -1]
        logits.append(last.tolist())

        # Fairseq's search is in the imported settings; its scores count the tag, whose choice here is forced.
        def allow(_: int, ids: Any, row: Any = row, size: int = len(last)) -> list[int]:
            return [row["forced"]] if row["forced"] is not None and len(ids) == 1 else list(range(size))

        output = model.generate(**inputs, max_new_tokens=61, prefix_allowed_tokens_fn=allow)
        written.append(output[0, 1:].tolist())
    return {"logits": logits, "ids": written, "tokenizer": type(tokenizer).__name__}


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main(*sys.argv[1:])
