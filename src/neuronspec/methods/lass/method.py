"""LaSS (Lin et al., ACL 2021; paper, A.2.5): each task trains and decodes with its own 30 % of the weights."""

from __future__ import annotations

import gc
import logging
import shutil
from pathlib import Path

from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from neuronspec.config.sections import Section, Training
from neuronspec.data.batches import BatchDataset
from neuronspec.errors import NeuronspecError
from neuronspec.methods.lass.masks import PARTS, WEIGHT_MASKS_FILE, Part, WeightMasks, find_matrices
from neuronspec.methods.lass.model import mask_weights
from neuronspec.methods.registry import METHODS
from neuronspec.models.loading import load_model
from neuronspec.names import child
from neuronspec.processes import join_processes
from neuronspec.training.loop import train
from neuronspec.training.method import Corpora, Method, Resources, Search

logger = logging.getLogger(__name__)


@METHODS.register("lass")
class Lass(Method):
    """Continues to train the pretrained model, every weight matrix masked with the bits of each sentence's task.

    The search for the masks fine-tunes the pretrained model on each task alone and keeps the weights that are largest
    afterwards, as LaSS itself does; "the most changed", as the paper puts it, they are not.
    """

    class Options(Section):
        """Options of lass."""

        pruned: float = Field(default=0.7, ge=0, lt=1)
        """Share of each matrix that a task goes without (paper: 0.7)."""
        parts: tuple[Part, ...] = Field(default=PARTS, min_length=1)
        """Which matrices are masked: of the `attention`, of the `ffn`, or both (paper: both)."""
        search_updates: int = Field(default=1_000, ge=1)
        """The most updates of the fine-tuning on one task, before its weights are pruned (the paper does not say). Its
        schedule is that of the continued training: a longer warm-up than this never gets to the full rate."""
        search_dropout: float = Field(default=0.3, ge=0, lt=1)
        """Dropout of that fine-tuning (paper: 0.3 for IWSLT, 0.1 for EC30)."""
        search_learning_rate: float | None = Field(default=None, gt=0)
        """Its learning rate; null: that of the continued training."""

    name = "lass"
    searches = True
    options: Options
    masks: WeightMasks

    def search(self, search: Search) -> None:
        """Fine-tune on each task alone, prune, and keep a bit a weight.

        An interrupted search goes on with the next task, and inside a task from the training's newest checkpoint.
        """
        processes = join_processes(search.cpu)
        missing = [] if self._masks_file(search).is_file() else self._missing_tasks(search)
        processes.wait_for_everyone()  # all know what is missing before the first one writes
        for task in missing:
            checkpoint = self._fine_tune(search, task)
            if processes.is_main_process:
                masks = WeightMasks.from_model(load_model(checkpoint), task, self.options.pruned, self.options.parts)
                masks.save(_part(search, task))
            processes.wait_for_everyone()  # the others have looked at the checkpoint too
            if processes.is_main_process:
                shutil.rmtree(_training(search, task) / "checkpoints")
        if processes.is_main_process:
            self._join(search)
        processes.wait_for_everyone()

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Mask the weights as the search found."""
        if resources.found is None or not (resources.found / WEIGHT_MASKS_FILE).is_file():
            raise NeuronspecError(
                f"{self.name} needs the weight masks of its search: there are none in {resources.found}"
            )
        self.masks = WeightMasks.load(resources.found / WEIGHT_MASKS_FILE).reorder(resources.tasks)
        mask_weights(model, self.masks)

    def save(self, directory: Path) -> None:
        """Write the masks beside the model, where translation finds them."""
        self.masks.save(directory / WEIGHT_MASKS_FILE)

    def _missing_tasks(self, search: Search) -> list[str]:
        """Return the tasks whose masks are still to be found."""
        missing = []
        for task in search.tasks:
            try:
                if _part(search, task).is_file() and self._fits(WeightMasks.load(_part(search, task)), task):
                    continue
            except NeuronspecError as error:
                logger.warning("%s; searching for them again", error)
            missing.append(task)
        return missing

    def _fits(self, masks: WeightMasks, task: str) -> bool:
        return (masks.tasks, masks.pruned, masks.parts) == ((task,), self.options.pruned, self.options.parts)

    def _fine_tune(self, search: Search, task: str) -> Path:
        """Return a checkpoint of the pretrained model, fine-tuned on one task alone."""
        number = search.tasks.index(task)
        model, tokenizer = search.load()
        find_matrices(model, self.options.parts)  # what does not fit is refused before the work
        set_dropout(model, self.options.search_dropout)
        gc.collect()  # the model before it is held by circles of references
        checkpoint, _ = train(
            model,
            tokenizer,
            Corpora(_only(search.corpora.train, number), _only(search.corpora.valid, number)),
            Method(),
            Resources((task,), seed=search.seed),
            training=self._training(search.training),
            sampling=search.sampling,
            directory=_training(search, task),
            title=f"{self.name}: {task} ({number + 1} of {len(search.tasks)})",
            cpu=search.cpu,
        )
        return checkpoint

    def _training(self, training: Training) -> Training:
        rate = self.options.search_learning_rate or training.learning_rate
        changes = {"updates": self.options.search_updates, "learning_rate": rate, "keep_checkpoints": 1}
        return training.model_copy(update=changes | {"report_to": []})

    def _join(self, search: Search) -> None:
        """Publish the masks of all tasks as one file; only then do the parts go."""
        if not self._masks_file(search).is_file():
            masks = [WeightMasks.load(_part(search, task)) for task in search.tasks]
            WeightMasks.concatenate(masks).save(self._masks_file(search))
        for task in search.tasks:
            _part(search, task).unlink(missing_ok=True)
            shutil.rmtree(_training(search, task) / "checkpoints", ignore_errors=True)

    def _masks_file(self, search: Search) -> Path:
        return search.directory / WEIGHT_MASKS_FILE


def set_dropout(model: PreTrainedModel, dropout: float) -> None:
    """Give a model another dropout, of hidden states and of attention weights; that of activations stays.

    Args:
        model: changed in place, its configuration too.
        dropout: the probability.
    """
    names = ("dropout", "attention_dropout", "dropout_rate")
    for holder in (model.config, *model.modules()):
        if isinstance(holder, nn.Dropout):
            holder.p = dropout
            continue
        for name in names:
            if type(getattr(holder, name, None)) in (int, float):
                setattr(holder, name, dropout)


def _only(dataset: BatchDataset, number: int) -> BatchDataset:
    return BatchDataset(dataset.store, [dataset.tasks[number]])


def _training(search: Search, task: str) -> Path:
    return child(search.directory / "fine_tuning", task)


def _part(search: Search, task: str) -> Path:
    return _training(search, task) / WEIGHT_MASKS_FILE
