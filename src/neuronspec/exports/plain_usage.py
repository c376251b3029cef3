"""The use of an exported model by programs without this package, for its card."""

from __future__ import annotations

from neuronspec.artifacts.cards import quote_python
from neuronspec.exports.formats import ExportRequest
from neuronspec.models.codec import TextCodec
from neuronspec.models.plain_use import find_plain_use
from neuronspec.report.model_usage import ModelUsage, write_code


def describe_plain_usage(request: ExportRequest, *, needs_own_loader: bool) -> tuple[str, ...]:
    """Return how to use an exported model, as lines of Markdown.

    Args:
        request: Request of the export.
        needs_own_loader: Whether plain transformers cannot load it.
    """
    if needs_own_loader:
        return (
            *("Each layer has its own width: plain transformers cannot load it, `neuronspec` can.", ""),
            *("```python", "import neuronspec as ns", "", 'model = ns.load_model(".")', "```"),
        )

    code = _write_translation(request) if request.model.config.is_encoder_decoder else _write_continuation()
    return ("With plain transformers, from this directory:", "", "```python", *code, "```") if code else ()


def _write_translation(request: ExportRequest) -> list[str]:
    """Return a program that translates with plain transformers; empty if its tokenizer cannot do that by itself."""
    plain = find_plain_use(TextCodec(request.tokenizer, request.model.config), request.task)
    if plain is None:
        return []

    usage = ModelUsage(
        task=request.task,
        plain=plain,
        part=None,
        search={"num_beams": 5, "max_new_tokens": request.max_tokens},
        beams=5,
        forced="nothing",
        has_own_embeddings=False,
        source_prefix="",
    )
    return write_code(usage, plain)


def _write_continuation() -> list[str]:
    return [
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained(".")',
        'model = AutoModelForCausalLM.from_pretrained(".")',
        "",
        f'inputs = tokenizer({quote_python("A text to continue")}, return_tensors="pt")',
        "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=32)[0]))",
    ]
