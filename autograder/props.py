"""Things that a check puts where the student's code runs, for answers that work on objects and not on numbers.

A function that trains wants a model and an optimiser. Neither can cross a pipe, and both must be on its side, or no
gradient flows. So they are made there, by name, and the check holds their handles:

    bench = student.prop("Bench", table, rate=0.5)
    student.train_epoch(bench.attribute("model"), batches, bench.attribute("score"), bench.attribute("optimizer"))
    bench.attribute("model").parameters()["weight"]

There is no secret here: this module is loaded in the student's process.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

PREFIX = "prop "  # no name in a notebook has a space in it


class Score(NamedTuple):
    """What ``Bench.score`` says of a batch."""

    loss: Any
    correct: int
    tokens: int


class Descent:
    """Plain gradient descent with the face of an optimiser of PyTorch's, without the seconds that loading one takes."""

    def __init__(self, parameters: Any, rate: float):
        self.parameters, self.rate, self.steps = list(parameters), rate, 0

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.parameters:
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = closure() if closure is not None else None
        self.steps += 1
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.data -= self.rate * parameter.grad
        return loss


class Growth:
    """A scheduler under which the rate of the n-th step is ``1 + growth · (n − 1)`` times the first."""

    def __init__(self, optimizer: Descent, growth: float):
        self.optimizer, self.growth, self.first, self.steps = optimizer, growth, optimizer.rate, 0

    def step(self) -> None:
        self.steps += 1
        self.optimizer.rate = self.first * (1 + self.growth * self.steps)


class Bench:
    """A small model, ready to be trained: row ``weight[s]``, and ``shift`` on top, are the logits for what follows s.

    In training the logits are halved, as a dropout would do on average and this does every time, so the mode that a
    model is in can be told from its loss. ``seen`` notes at each score whether it was in training, and recorded;
    ``backwards`` counts how often a loss was differentiated. ``steep`` multiplies the loss, and its gradient with it.
    """

    def __init__(
        self,
        table: Any,
        rate: float = 0.5,
        growth: float = 0.0,
        stale: float = 0.0,
        pad: int = 0,
        steep: float = 1.0,
    ):
        import torch

        class Table(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = torch.nn.Parameter(torch.as_tensor(table).clone())
                self.shift = torch.nn.Parameter(torch.zeros_like(self.weight[0]))

            def forward(self, src: Any) -> Any:
                return (self.weight[src] + self.shift) * (0.5 if self.training else 1.0)

        self.model = Table()
        self.optimizer = Descent(self.model.parameters(), rate)
        self.scheduler = Growth(self.optimizer, growth)
        self.pad, self.steep = pad, steep
        self.seen: list[tuple[bool, bool]] = []
        self.backwards = 0
        if stale:  # a gradient that an earlier run has left behind
            self.model.weight.grad = torch.full_like(self.model.weight, stale)

    def score(self, model: Any, batch: Any) -> Score:
        """The mean loss of the batch's real tokens, how many of them are right, and how many there are."""
        import torch

        src, tgt = batch
        logits = model(src)
        self.seen.append((model.training, torch.is_grad_enabled()))
        if logits.requires_grad:
            logits.register_hook(self._count)
        real = tgt != self.pad
        tokens = int(real.sum())
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, -2), tgt.flatten(), ignore_index=self.pad, reduction="sum"
        ) / max(tokens, 1)
        return Score(self.steep * loss, int(((logits.argmax(-1) == tgt) & real).sum()), tokens)

    def _count(self, gradient: Any) -> None:
        self.backwards += 1

    def gradient(self) -> Any:
        """The gradient that the model holds; None where it holds none."""
        return self.model.weight.grad

    def training(self) -> bool:
        return self.model.training

    def set_mode(self, training: bool) -> None:
        self.model.train(training)


PROPS: dict[str, Callable[..., Any]] = {"Bench": Bench}
