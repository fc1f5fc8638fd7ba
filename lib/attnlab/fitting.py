"""``fit``: the one training loop of the course, with a progress bar, checkpoints, and exact resume.

What is particular to a task comes in as two functions: ``batches(epoch)``, the batches of an epoch, and
``score(model, batch)``, the loss (see ``training.token_score``). A run that was killed, called again with the same
arguments, ends with the same weights, bit for bit, as one that was not.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from attnlab import checkpoint
from attnlab.progress import ProgressBar
from attnlab.training import Means, ScoreBatch, TokenMean, evaluate, train_step


def fit(
    model: nn.Module,
    batches: Callable[[int], Sequence[Any]],
    score: ScoreBatch,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    *,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    valid: Sequence[Any] | None = None,
    clip: float | None = 1.0,
    checkpoint_path: str | Path | None = None,
    checkpoint_every: int = 200,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train for ``epochs``; returns one dict an epoch: loss, accuracy, tokens, seconds, and valid_* where asked for.

    ``batches(epoch)`` must give the same batches whenever it is called with the same epoch, up to what it draws from
    the global generators. With ``checkpoint_path`` the state is written every ``checkpoint_every`` steps and after
    every epoch; where the file exists already, the run goes on from there.
    """
    run = _Run(model, optimizer, scheduler)
    path = None if checkpoint_path is None else Path(checkpoint_path)
    if path is not None and path.exists():
        run.load(checkpoint.load(path))
    while run.epoch < epochs:
        if run.position == 0:
            run.random_at_epoch = checkpoint.random_state()
            todo = batches(run.epoch)
        else:  # cut off in mid-epoch: draw the same batches again, then put the generators back where they were
            now = checkpoint.random_state()
            checkpoint.set_random_state(run.random_at_epoch)
            todo = batches(run.epoch)
            checkpoint.set_random_state(now)
        bar = ProgressBar(f"epoch {run.epoch + 1}/{epochs}", len(todo), run.position, show=progress)
        model.train()
        for batch in todo[run.position :]:
            result = train_step(model, batch, score, optimizer, scheduler, clip)
            run.mean.add(result)
            run.position += 1
            bar.advance(result.tokens, run.mean.value().loss)
            if path is not None and run.position % checkpoint_every == 0 and run.position < len(todo):
                checkpoint.save_atomically(run.state(bar.seconds()), path)
        run.finish_epoch(bar.seconds(), None if valid is None else evaluate(model, valid, score))
        bar.close(run.history[-1])
        if path is not None:
            checkpoint.save_atomically(run.state(0.0), path)
    return run.history


class _Run:
    """The state of a run: where it stands, and all that stands with it."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any):
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.epoch = self.position = 0
        self.mean = TokenMean()
        self.seconds_before = 0.0
        self.history: list[dict[str, float]] = []
        self.random_at_epoch = checkpoint.random_state()

    def finish_epoch(self, seconds: float, valid: Means | None) -> None:
        loss, accuracy, tokens = self.mean.value()
        seconds += self.seconds_before
        record = {"loss": loss, "accuracy": accuracy, "tokens": float(tokens), "seconds": seconds}
        if valid is not None:
            record |= {"valid_loss": valid.loss, "valid_accuracy": valid.accuracy}
        self.history.append(record)
        self.epoch, self.position, self.mean, self.seconds_before = self.epoch + 1, 0, TokenMean(), 0.0

    def state(self, seconds: float) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "random": checkpoint.random_state(),
            "random_at_epoch": self.random_at_epoch,
            "epoch": self.epoch,
            "position": self.position,
            "mean": (self.mean.loss, self.mean.correct, self.mean.tokens),
            "seconds": self.seconds_before + seconds,
            "history": self.history,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.epoch, self.position, self.history = state["epoch"], state["position"], state["history"]
        self.mean, self.seconds_before = TokenMean(*state["mean"]), state["seconds"]
        self.random_at_epoch = state["random_at_epoch"]
        checkpoint.set_random_state(state["random"])
