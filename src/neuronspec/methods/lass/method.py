"""The method lass (Lin et al., ACL 2021; paper, A.2.5): each task trains and decodes with 30 % of the weights."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from neuronspec.config.sections import Section, Training
from neuronspec.data.batches import BatchDataset
from neuronspec.durability import remove
from neuronspec.errors import NeuronspecError
from neuronspec.interruption import explained_interruption
from neuronspec.methods.lass.masks import WEIGHT_MASKS_FILE, WeightMasks
from neuronspec.methods.lass.model import load_weight_masks, mask_weights
from neuronspec.methods.layer_matrices import SUBLAYERS, Sublayer, find_layer_matrices
from neuronspec.methods.registry import METHODS
from neuronspec.models.loading import load_model
from neuronspec.names import child
from neuronspec.processes import join_processes
from neuronspec.training.loop import train
from neuronspec.training.method import Corpora, Method, Resources, SearchResources

logger = logging.getLogger(__name__)


@METHODS.register("lass")
class Lass(Method):
    """Continues to train the pretrained model, with every weight matrix masked for each sentence's task.

    The search for the masks fine-tunes the pretrained model on each task alone and keeps the weights that are largest
    afterwards, as LaSS itself does; this differs from the paper, which says "most changed".
    """

    class Options(Section):
        """Options of lass."""

        pruned: float = Field(default=0.7, ge=0, lt=1)
        """Share of each matrix that is pruned for a task (paper: 0.7)."""
        parts: tuple[Sublayer, ...] = Field(default=SUBLAYERS, min_length=1)
        """Matrices that are masked: those of the `attention`, of the `ffn`, or both (paper: both)."""
        search_updates: int = Field(default=1_000, ge=1)
        """Maximum number of fine-tuning updates on one task before its weights are pruned (the paper does not say). The
        schedule is that of the continued training: with a longer warm-up, the full rate is never reached."""
        search_dropout: float = Field(default=0.3, ge=0, lt=1)
        """Dropout of the fine-tuning on one task (paper: 0.3 for IWSLT, 0.1 for EC30)."""
        search_learning_rate: float | None = Field(default=None, gt=0)
        """Learning rate of the fine-tuning on one task; null: that of the continued training."""

    name = "lass"
    searches = True
    engines = ("transformers",)
    artifact = WEIGHT_MASKS_FILE
    options: Options
    masks: WeightMasks

    def search(self, search: SearchResources) -> None:
        """Fine-tune on each task alone, prune, and keep one bit for each weight.

        An interrupted search resumes with the next task, and within a task from the latest checkpoint.
        """
        processes = join_processes(search.cpu)
        # Once the masks of all tasks are one file, nothing is missing.
        missing = [] if self._masks_file(search).is_file() else self._missing_tasks(search)
        processes.wait_for_everyone()  # all know what is missing before the first one writes

        # All processes fine-tune together; one of them prunes.
        for task in missing:
            with explained_interruption(f"the same command resumes the search of {self.name} with {task}"):
                checkpoint = self._fine_tune(search, task)
            if processes.is_main_process:
                masks = WeightMasks.from_model(load_model(checkpoint), task, self.options.pruned, self.options.parts)
                masks.save(_task_masks_file(search, task))
            processes.wait_for_everyone()  # the others have looked at the checkpoint too
            if processes.is_main_process:
                remove(_task_directory(search, task) / "checkpoints")

        if processes.is_main_process:
            self._join(search)
        processes.wait_for_everyone()

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Mask the weights with the masks that the search found."""
        if resources.search_directory is None or not (resources.search_directory / WEIGHT_MASKS_FILE).is_file():
            raise NeuronspecError(
                f"{self.name} needs the weight masks of its search: there are none in {resources.search_directory}"
            )
        self.masks = WeightMasks.load(resources.search_directory / WEIGHT_MASKS_FILE).reorder(resources.tasks)
        mask_weights(model, self.masks)

    def save(self, directory: Path) -> None:
        """Write the masks next to the model."""
        self.masks.save(directory / WEIGHT_MASKS_FILE)

    @classmethod
    def attach_saved(cls, model: PreTrainedModel, directory: Path, unseen: Sequence[str], pivot: str) -> None:
        """Attach the weight masks of a trained model."""
        load_weight_masks(model, directory).add_zero_shot(unseen, pivot)

    def _missing_tasks(self, search: SearchResources) -> list[str]:
        """Return the tasks whose masks have not been found yet."""
        missing = []
        for task in search.tasks:
            file = _task_masks_file(search, task)

            # A damaged file, or one with other settings, is searched for again.
            try:
                found = file.is_file() and self._fits(WeightMasks.load(file), task)
            except NeuronspecError as error:
                logger.warning("%s; searching for them again", error)
                found = False
            if not found:
                missing.append(task)
        return missing

    def _fits(self, masks: WeightMasks, task: str) -> bool:
        return (masks.tasks, masks.pruned, masks.parts) == ((task,), self.options.pruned, self.options.parts)

    def _fine_tune(self, search: SearchResources, task: str) -> Path:
        """Return a checkpoint of the pretrained model, fine-tuned on one task alone."""
        number = search.tasks.index(task)
        model, tokenizer = search.load()
        find_layer_matrices(model, self.options.parts)  # raises before the work if the model does not fit
        set_dropout(model, self.options.search_dropout)
        gc.collect()  # frees the previous task's model, which reference cycles keep alive

        # Plain fine-tuning, by `Method()`, on the examples of this task only
        checkpoint, _ = train(
            model,
            tokenizer,
            Corpora(_only(search.corpora.train, number), _only(search.corpora.valid, number)),
            Method(),
            Resources((task,), seed=search.seed),
            training=self._shorten(search.training),
            sampling=search.sampling,
            directory=_task_directory(search, task),
            title=f"{self.name}: {task} ({number + 1} of {len(search.tasks)})",
            cpu=search.cpu,
        )
        return checkpoint

    def _shorten(self, training: Training) -> Training:
        """Return the settings of the fine-tuning on one task."""
        changes = {
            "updates": self.options.search_updates,
            "learning_rate": self.options.search_learning_rate or training.learning_rate,
            # A single checkpoint is pruned and removed; trackers follow the continued training alone.
            "keep_checkpoints": 1,
            "report_to": [],
        }
        return training.model_copy(update=changes)

    def _join(self, search: SearchResources) -> None:
        """Publish the masks of all tasks as one file, then remove the files of single tasks."""
        # A search that was killed here before may have the file already.
        if not self._masks_file(search).is_file():
            masks = [WeightMasks.load(_task_masks_file(search, task)) for task in search.tasks]
            WeightMasks.concatenate(masks).save(self._masks_file(search))

        for task in search.tasks:
            _task_masks_file(search, task).unlink(missing_ok=True)
            remove(_task_directory(search, task) / "checkpoints")

    def _masks_file(self, search: SearchResources) -> Path:
        return search.directory / WEIGHT_MASKS_FILE


def set_dropout(model: PreTrainedModel, dropout: float) -> None:
    """Change a model's dropout of hidden states and of attention weights, but not that of activations.

    Args:
        model: Model to change in place, with its configuration.
        dropout: Probability.
    """
    # Models keep the probability in modules of their own, in attributes, and in the configuration.
    names = ("dropout", "attention_dropout", "dropout_rate")
    for holder in (model.config, *model.modules()):
        if isinstance(holder, nn.Dropout):
            holder.p = dropout
            continue

        for name in names:
            # The attribute of such a name can be a module instead of a number.
            if type(getattr(holder, name, None)) in (int, float):
                setattr(holder, name, dropout)


def _only(dataset: BatchDataset, number: int) -> BatchDataset:
    # The store is the same one; examples of the other tasks are never asked for.
    return BatchDataset(dataset.store, [dataset.tasks[number]])


def _task_directory(search: SearchResources, task: str) -> Path:
    return child(search.directory / "fine_tuning", task)


def _task_masks_file(search: SearchResources, task: str) -> Path:
    return _task_directory(search, task) / WEIGHT_MASKS_FILE
