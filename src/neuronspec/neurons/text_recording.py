"""Recording any model on texts, outside of a run; several processes share the tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from neuronspec.config.sections import Recording
from neuronspec.directory_lock import DirectoryLock
from neuronspec.durability import leaving_no_empty_folder, remove
from neuronspec.files import hash_json, hash_path
from neuronspec.models.text_batches import make_batches
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.model_texts import ModelTexts
from neuronspec.neurons.recording import record_activations
from neuronspec.processes import join_processes


def record_texts(inputs: ModelTexts, name: str, settings: Recording, out: Path) -> ActivationCounts:
    """Count how often each neuron is active on the text of each task, and save the counts.

    Args:
        inputs: Model and texts.
        name: Directory or hub name of the model, for the signature.
        settings: Settings of the recording, such as what counts as active.
        out: Directory of the counts.

    Returns:
        The counts of all tasks, in every process.
    """
    processes = join_processes()
    signature = sign_texts(inputs, name)

    # One process owns the directory for all of them.
    with leaving_no_empty_folder(out), DirectoryLock(out) as lock:
        lock.acquire_together(processes)

        # Several processes share the tasks, through files in a directory that is removed at the end.
        if processes.num_processes == 1:
            counts = _count(inputs, tasks=inputs.texts, settings=settings, signature=signature)
        else:
            counts = _count_together(inputs, settings=settings, signature=signature, parts=out / ".recording")

        # One process writes, since all have the same counts.
        if processes.is_main_process:
            counts.save(out)
    return counts


def sign_texts(inputs: ModelTexts, name: str) -> dict[str, str]:
    """Return hashes of the model and of the text; a model from the hub is known by its name.

    Args:
        inputs: Model and texts.
        name: Directory or hub name of the model.
    """
    weights = sorted(Path(name).glob("*.safetensors"))
    return {"model": " ".join(map(hash_path, weights)) or name, "data": hash_json(inputs.texts)}


def _count(
    inputs: ModelTexts, *, tasks: Iterable[str], settings: Recording, signature: Mapping[str, str]
) -> ActivationCounts:
    """Count the activations on the text of some tasks."""
    # Batches of one task each, so that counts do not depend on which tasks are counted together.
    batches = make_batches(
        inputs.model,
        inputs.tokenizer,
        {task: inputs.texts[task] for task in tasks},
        tokens_per_batch=settings.tokens_per_batch,
        too_long=inputs.too_long,
    )
    return record_activations(
        inputs.model,
        batches,
        settings.unit,
        threshold=settings.threshold,
        gated_at=settings.gated_at,
        ignore=inputs.find_special(settings.ignore),
        means=settings.means,
        states=settings.states,
        signature=signature,
    )


def _count_together(
    inputs: ModelTexts, *, settings: Recording, signature: Mapping[str, str], parts: Path
) -> ActivationCounts:
    """Count this process' share of the tasks, and return the counts of all of them."""
    processes, tasks = join_processes(), list(inputs.texts)
    if processes.is_main_process:
        remove(parts)  # left by a command that was killed
    processes.wait_for_everyone()

    # One file a task: the counts are then the same, whichever process counted which task.
    for number in range(processes.process_index, len(tasks), processes.num_processes):
        counted = _count(inputs, tasks=[tasks[number]], settings=settings, signature=signature)
        counted.save(parts / str(number))
    processes.wait_for_everyone()

    # Every process reads all counts; only then may the first one delete the files.
    counts = ActivationCounts.concatenate([ActivationCounts.load(parts / str(n)) for n in range(len(tasks))])
    processes.wait_for_everyone()
    if processes.is_main_process:
        remove(parts)
    return counts
