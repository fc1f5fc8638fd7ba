"""Decoding: from a model that scores the next token to a text. Greedy, sampling, and beam search.

All of them ask one thing of a model, a *step*: take in the newest token of each row, give the logits of the next.
What the step remembers in between is its own business: the keys and values of the past (``CachedStep``), or the
tokens themselves, to be read anew each time (``FullStep``). ``select`` drops rows, doubles them when a beam forks.

References: Holtzman et al. 2020 (top-p); Wu et al. 2016, equation 14 (length normalisation).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch

from attnlab.shapes import Float, Int, Tensor


@runtime_checkable
class Step(Protocol):
    """N rows are being written; the step holds what each has so far."""

    def __call__(self, tokens: Int[Tensor, "N"]) -> Float[Tensor, "N V"]:
        """Take in each row's newest token; the logits of the token after it."""

    def select(self, rows: Int[Tensor, "M"]) -> None:
        """Go on with these rows, in this order; a row may come twice."""


class CachedStep:
    """The step of a Transformer or GPT: ``CachedStep(model, model.start(src))``, ``CachedStep(gpt, gpt.start())``.

    ``read`` takes in a prompt in one pass, all but its last token, which is the first that decoding is given.
    """

    def __init__(self, model: Any, state: Any):
        self.model, self.state = model, state

    def __call__(self, tokens: Int[Tensor, "N"]) -> Float[Tensor, "N V"]:
        return self.model.step(tokens[:, None], self.state)[:, -1]

    def read(self, prompt: Int[Tensor, "N T"]) -> Int[Tensor, "N"]:
        """Take in prompt[:, :-1]; returns prompt[:, -1], to begin with."""
        if prompt.shape[1] > 1:
            with torch.inference_mode():
                self.model.step(prompt[:, :-1], self.state)
        return prompt[:, -1]

    def select(self, rows: Int[Tensor, "M"]) -> None:
        self.state.select(rows)


class FullStep:
    """The step without a cache: remembers the tokens, and runs ``forward`` on all of them every time."""

    def __init__(self, forward: Callable[[Tensor], Tensor], prompt: Int[Tensor, "N T"] | None = None):
        self.forward, self.tokens = forward, prompt

    def __call__(self, tokens: Int[Tensor, "N"]) -> Float[Tensor, "N V"]:
        tokens = tokens[:, None]
        self.tokens = tokens if self.tokens is None else torch.cat((self.tokens, tokens), dim=1)
        return self.forward(self.tokens)[:, -1]

    def select(self, rows: Int[Tensor, "M"]) -> None:
        if self.tokens is not None:
            self.tokens = self.tokens[rows]


@torch.inference_mode()
def generate(
    step: Step,
    first: Int[Tensor, "N"],
    max_length: int,
    choose: Callable[[Tensor], Tensor],
    end: int | None = None,
) -> list[list[int]]:
    """Write up to ``max_length`` tokens in each row, ``choose``-ing each from the logits (N, V).

    A row stops at its own ``end``, which is left out of the result; the others go on without it.
    """
    written: list[list[int]] = [[] for _ in first]
    rows, tokens = torch.arange(len(first)), first
    for _ in range(max_length):
        tokens = choose(step(tokens))
        if end is not None and (tokens == end).any():
            going = (tokens != end).nonzero()[:, 0]
            step.select(going)
            rows, tokens = rows[going.to(rows.device)], tokens[going]
            if len(rows) == 0:
                break
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            written[row].append(token)
    return written


def greedy_decode(step: Step, first: Int[Tensor, "N"], max_length: int, end: int | None = None) -> list[list[int]]:
    """The likeliest token each time, which need not make the likeliest text: see ``beam_search``."""
    return generate(step, first, max_length, lambda logits: logits.argmax(-1), end)


def sample(
    logits: Float[Tensor, "*batch V"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    rng: torch.Generator | None = None,
) -> Int[Tensor, "*batch"]:
    """Draw a token from softmax(logits / temperature), restricted to the top_k likeliest, then to the top_p mass."""
    if not temperature > 0:
        raise ValueError(f"sample expects temperature > 0, got {temperature}: for temperature → 0 take greedy_decode")
    logits = logits / temperature
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    weights = logits.softmax(-1)
    drawn = torch.multinomial(weights.reshape(-1, weights.shape[-1]), 1, generator=rng)
    return drawn.view(weights.shape[:-1])


def keep_top_k(logits: Float[Tensor, "*batch V"], k: int) -> Float[Tensor, "*batch V"]:
    """The k largest logits of each row; −∞ for the others."""
    if k < 1:
        raise ValueError(f"expected top_k ≥ 1, got {k}: at least one token must stay")
    top = logits.topk(min(k, logits.shape[-1]), dim=-1)
    return torch.full_like(logits, -torch.inf).scatter(-1, top.indices, top.values)


def keep_top_p(logits: Float[Tensor, "*batch V"], p: float) -> Float[Tensor, "*batch V"]:
    """The smallest set of likeliest tokens that together have probability p or more; −∞ for the others.

    A token stays while those *before* it have less than p: so the one that crosses p stays, and there is always one.
    """
    if not 0 < p <= 1:
        raise ValueError(f"expected 0 < top_p ≤ 1, got {p}: it is a probability, and at least one token must stay")
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probability = ordered.softmax(-1)
    before = probability.cumsum(-1) - probability
    return torch.full_like(logits, -torch.inf).scatter(-1, order, ordered.masked_fill(before >= p, -torch.inf))


class Hypothesis(NamedTuple):
    """A text that beam search found: its tokens without the end, log p of all that was written, and its score."""

    tokens: list[int]
    log_p: float
    score: float


@torch.inference_mode()
def beam_search(
    step: Step, first: Int[Tensor, "N"], width: int, alpha: float, max_length: int, end: int, n_best: int = 1
) -> list[Hypothesis]:
    """The ``n_best`` texts by log p / ((5 + length) / 6)^α among those that a beam of ``width`` meets, best first.

    log p falls with every token, so α = 0 favours short texts; α = 0.6 to 1 makes up for it. The end counts as a token
    of the length. A finished text is kept, and does not take a place in the beam. The search ends when no text in the
    beam can still overtake, or at ``max_length`` tokens, where unfinished ones count as they stand.
    """
    if width < 1 or n_best < 1 or len(first) != 1:
        raise ValueError(
            f"beam_search expects one row, width ≥ 1 and n_best ≥ 1, got {len(first)} rows, width = {width}, "
            f"n_best = {n_best}: search the rows of a batch one by one"
        )
    finished: list[Hypothesis] = []
    texts: list[list[int]] = [[]]
    log_p, tokens = torch.zeros(1, device=first.device), first
    for length in range(1, max_length + 1):
        candidates = log_p[:, None] + step(tokens).log_softmax(-1)  # (width, V)
        V = candidates.shape[1]
        # Each text can end in one way only: among 2 · width candidates, width or more go on.
        best = candidates.flatten().topk(min(2 * width, candidates.numel()))
        rows, tokens = best.indices // V, best.indices % V
        possible = best.values > -torch.inf
        ended, going = possible & (tokens == end), possible & (tokens != end)
        for row, log_p_end in zip(rows[ended].tolist(), best.values[ended].tolist(), strict=True):
            finished.append(Hypothesis(texts[row], log_p_end, length_normalised(log_p_end, length, alpha)))
        rows, tokens, log_p = (x[going][:width] for x in (rows, tokens, best.values))
        texts = [[*texts[row], token] for row, token in zip(rows.tolist(), tokens.tolist(), strict=True)]
        finished = sorted(finished, key=lambda h: h.score, reverse=True)[:n_best]
        if not texts or _cannot_be_overtaken(finished, log_p[0].item(), alpha, length + 1, max_length, n_best):
            return finished
        step.select(rows)
    for text, log_p_cut in zip(texts, log_p.tolist(), strict=True):
        finished.append(Hypothesis(text, log_p_cut, length_normalised(log_p_cut, max_length, alpha)))
    return sorted(finished, key=lambda h: h.score, reverse=True)[:n_best]


def length_normalised(log_p: float, length: int, alpha: float) -> float:
    """log p / ((5 + length) / 6)^α."""
    return log_p / ((5 + length) / 6) ** alpha


def _cannot_be_overtaken(finished, log_p, alpha, next_length, max_length, n_best):
    """A text in the beam can at best add tokens of probability 1 until its length helps it most."""
    if len(finished) < n_best:
        return False
    return finished[-1].score >= length_normalised(log_p, max_length if alpha > 0 else next_length, alpha)
