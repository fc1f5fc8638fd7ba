"""Training: the loss, the learning rate, the batches, and one pass over the data, each counted a *token* at a time.

A batch of 10 tokens and one of 1,000 are not equal: every mean here is over real tokens, padding never counted.
``fitting.fit`` builds the whole loop from these parts.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from attnlab.shapes import Float, Int, Tensor


class Score(NamedTuple):
    """What a model made of a batch: the mean loss a token, to differentiate; tokens it got right; tokens there were."""

    loss: Tensor
    correct: int
    tokens: int


class Means(NamedTuple):
    """Over many batches: loss and accuracy a token, and the number of tokens."""

    loss: float
    accuracy: float
    tokens: int


ScoreBatch = Callable[[nn.Module, Any], tuple[Tensor, int, int]]


def label_smoothed_loss(
    logits: Float[Tensor, "*batch V"], targets: Int[Tensor, "*batch"], smoothing: float = 0.1, pad: int | None = 0
) -> Float[Tensor, ""]:
    """Cross-entropy against a target that is not quite sure, averaged over the real tokens.

        q = (1 − ε) · [the target]  +  ε · uniform over every token but ``pad``         loss = −Σ q log p

    Positions whose target is ``pad`` count nothing, and no mass is put on ``pad`` as an answer either. With no real
    token the loss is 0. Reference: Szegedy et al. 2016; ε = 0.1 in Vaswani et al. 2017, section 5.4.
    """
    V = logits.shape[-1]
    if not 0 <= smoothing < 1:
        raise ValueError(f"expected 0 ≤ smoothing < 1, got {smoothing}: it is the mass taken from the target")
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"expected logits (…, V) and targets (…), got {tuple(logits.shape)} and {tuple(targets.shape)}: "
            "each target asks for one row of logits"
        )
    real = torch.ones_like(targets, dtype=torch.bool) if pad is None else targets != pad
    q = torch.full_like(logits, smoothing / (V if pad is None else V - 1), requires_grad=False)
    if pad is not None:
        q[..., pad] = 0
    q.scatter_add_(-1, targets[..., None], torch.full_like(q[..., :1], 1 - smoothing))
    q[~real] = 0
    return -(q * logits.log_softmax(-1)).sum() / real.sum().clamp(min=1)


def warmup_rate(step: int, d_model: int, warmup: int = 4000) -> float:
    """The learning rate at a step: linear up to ``warmup``, then falling with 1/√step.

        rate = d_model^−½ · min(step^−½, step · warmup^−3⁄2)

    At step 0 the second term is 0 and the first has no value: the rate is 0. Vaswani et al. 2017, equation 3.
    """
    if step < 0 or warmup < 1:
        raise ValueError(f"expected step ≥ 0 and warmup ≥ 1, got step = {step} and warmup = {warmup}")
    if step == 0:
        return 0.0
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


def token_accuracy(logits: Float[Tensor, "*batch V"], targets: Int[Tensor, "*batch"], pad: int | None = 0) -> float:
    """Of the real tokens, the share whose likeliest answer is the target; NaN where there is no token."""
    correct, tokens = _count(logits, targets, pad)
    return correct / tokens if tokens else math.nan


def token_score(
    logits: Float[Tensor, "*batch V"], targets: Int[Tensor, "*batch"], smoothing: float = 0.0, pad: int | None = 0
) -> Score:
    """Loss and counts of one batch, as ``train_epoch`` and ``evaluate`` take them."""
    return Score(label_smoothed_loss(logits, targets, smoothing, pad), *_count(logits, targets, pad))


def token_budget_batches(lengths: Sequence[int], budget: int, rng: torch.Generator | None = None) -> list[list[int]]:
    """Cut the indices of sequences into batches of like length, each of at most ``budget`` tokens, padding included.

    Sequences of like length lie together, so that little is padded; which of them, and in what order the batches come,
    is drawn from ``rng``. Each index occurs once.
    """
    if lengths and max(lengths) > budget:
        raise ValueError(f"the longest sequence has {max(lengths)} tokens, more than the budget of {budget} a batch")
    shuffled = torch.randperm(len(lengths), generator=rng).tolist()
    batches: list[list[int]] = []
    longest = 0
    for i in sorted(shuffled, key=lambda i: lengths[i]):
        longest = max(longest, lengths[i])
        if not batches or longest * (len(batches[-1]) + 1) > budget:
            batches.append([])
            longest = lengths[i]
        batches[-1].append(i)
    return [batches[b] for b in torch.randperm(len(batches), generator=rng).tolist()]


def pad_batch(sequences: Sequence[Sequence[int]], pad: int = 0) -> Int[Tensor, "B T"]:
    """Sequences of ids under each other, filled up with ``pad`` to the longest."""
    T = max((len(s) for s in sequences), default=0)
    return torch.tensor([[*s, *[pad] * (T - len(s))] for s in sequences], dtype=torch.long).view(len(sequences), T)


def train_step(
    model: nn.Module,
    batch: Any,
    score: ScoreBatch,
    optimizer: Any,
    scheduler: Any = None,
    clip: float | None = None,
) -> Score:
    """Clear the gradients, score the batch, differentiate, clip the gradient's norm, step."""
    optimizer.zero_grad(set_to_none=True)
    result = Score(*score(model, batch))
    result.loss.backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    if scheduler is not None:
        scheduler.step()
    return result


def train_epoch(
    model: nn.Module,
    batches: Iterable[Any],
    score: ScoreBatch,
    optimizer: Any,
    scheduler: Any = None,
    clip: float | None = None,
) -> Means:
    """One pass over the batches, in training mode; the means are of the model as it was at each batch."""
    model.train()
    mean = TokenMean()
    for batch in batches:
        mean.add(train_step(model, batch, score, optimizer, scheduler, clip))
    return mean.value()


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[Any], score: ScoreBatch) -> Means:
    """Means a token over all batches, without dropout; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    mean = TokenMean()
    try:
        for batch in batches:
            mean.add(Score(*score(model, batch)))
    finally:
        for module, mode in modes.items():
            module.training = mode
    return mean.value()


class TokenMean:
    """A running mean over tokens: each batch weighs as many as it has."""

    def __init__(self, loss: float = 0.0, correct: int = 0, tokens: int = 0):
        self.loss, self.correct, self.tokens = loss, correct, tokens

    def add(self, score: Score) -> None:
        self.loss += score.loss.item() * score.tokens
        self.correct += score.correct
        self.tokens += score.tokens

    def value(self) -> Means:
        if self.tokens == 0:
            return Means(math.nan, math.nan, 0)
        return Means(self.loss / self.tokens, self.correct / self.tokens, self.tokens)


def best_device() -> torch.device:
    """A GPU where there is one (CUDA, then Apple's MPS), else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def device_line(device: torch.device) -> str:
    """One line that says what the numbers below it were made on."""
    if device.type == "cuda":
        return f"device: CUDA, {torch.cuda.get_device_name(device)}"
    if device.type == "mps":
        return "device: MPS, the GPU of this Mac"
    threads = torch.get_num_threads()
    return f"device: CPU, {threads} thread{'s' if threads > 1 else ''}"


def _count(logits: Tensor, targets: Tensor, pad: int | None) -> tuple[int, int]:
    real = torch.ones_like(targets, dtype=torch.bool) if pad is None else targets != pad
    correct = (logits.argmax(-1) == targets) & real
    return int(correct.sum()), int(real.sum())
