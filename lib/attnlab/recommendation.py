"""Recommendation: the next item from a user's history, in order (SASRec), against what is popular with everyone.

Items are numbered from 1; 0 is padding, after the items. Evaluation ranks *all* items: ``metrics.ndcg_at_k``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from attnlab.encoder import Encoder
from attnlab.masks import causal_mask, padding_mask
from attnlab.positions import LearnedPositions
from attnlab.shapes import Bool, Float, Int, Tensor

PAD = 0
History = Sequence[int]


class Split(NamedTuple):
    """Histories to train on, and (history, next item) pairs to choose a model by and to test it on."""

    train: list[list[int]]
    validation: list[tuple[list[int], int]]
    test: list[tuple[list[int], int]]


def leave_one_out(histories: Sequence[History]) -> Split:
    """Each user's last item is for testing, the one before for validation, and training sees neither.

        history        a b c d e
        train          a b c
        validation     a b c → d
        test           a b c d → e

    A user with fewer than three items is trained on and not asked about. A model that is trained on whole histories
    has seen the future: its test score is worth nothing.
    """
    split = Split([], [], [])
    for history in map(list, histories):
        if len(history) < 3:
            split.train.append(history)
        else:
            split.train.append(history[:-2])
            split.validation.append((history[:-2], history[-2]))
            split.test.append((history[:-1], history[-1]))
    return split


def pad_histories(histories: Sequence[History], max_length: int) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B"]]:
    """The last ``max_length`` items of each history, oldest first, padded at the end; and how many there are."""
    recent = [list(history[-max_length:]) for history in histories]
    T = max(map(len, recent), default=0)
    items = torch.tensor([history + [PAD] * (T - len(history)) for history in recent]).reshape(len(recent), T).long()
    return items, torch.tensor([len(history) for history in recent]).long()


def sample_negatives(
    histories: Int[Tensor, "B T"], num_items: int, generator: torch.Generator | None = None
) -> Int[Tensor, "B T"]:
    """For each place of a history one item, at random, that is nowhere in it."""
    B, _ = histories.shape
    wanted = torch.ones(B, num_items + 1, device=histories.device).scatter(1, histories, 0)
    wanted[:, PAD] = 0
    if (wanted.sum(dim=1) == 0).any():
        raise ValueError(f"A user has seen all {num_items} items, so there is none to sample as a negative.")
    return torch.multinomial(wanted, histories.shape[1], replacement=True, generator=generator)


def sasrec_loss(
    positive: Float[Tensor, "B T"], negative: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, ""]:
    """-[ log σ(r_positive) + log(1 - σ(r_negative)) ], averaged over the places where ``mask`` is True.

    At each place the item that came next should score high, and a random one low. The paper sums; the mean makes the
    learning rate independent of the batch. 1 - σ(r) = σ(-r), whose logarithm does not overflow.

    Kang and McAuley, 2018, "Self-attentive sequential recommendation", section III-E.
    """
    log_likelihood = nn.functional.logsigmoid(positive) + nn.functional.logsigmoid(-negative)
    return -torch.where(mask, log_likelihood, 0).sum() / mask.sum().clamp(min=1)


class SASRec(nn.Module):
    """A causal encoder over the items of a history; an item's score is its embedding times the last state.

        r(item | history_1…t) = e_item · Encoder(√d e_1 + p_1, …, √d e_t + p_t)_t

    One set of embeddings serves input and output. The paper pads in front, so that the *latest* item has a fixed
    position; ours pads behind, and counts from the first.
    """

    def __init__(
        self, num_items: int, max_length: int, d_model: int, num_heads: int, num_layers: int, dropout: float = 0.2
    ):
        super().__init__()
        self.embed = nn.Embedding(num_items + 1, d_model, padding_idx=PAD)
        nn.init.normal_(self.embed.weight[1:], std=d_model**-0.5)
        self.positions = LearnedPositions(max_length, d_model)
        self.dropout = nn.Dropout(dropout)
        self.encoder = Encoder(num_layers, d_model, num_heads, d_model, dropout, order="pre")

    def forward(self, items: Int[Tensor, "B T"], mask: Bool[Tensor, "..."]) -> Float[Tensor, "B T d_model"]:
        """What is known of the user after each item. ``mask`` from ``history_mask``: nobody looks at the future."""
        x = self.embed(items) * self.embed.embedding_dim**0.5
        return self.encoder(self.dropout(self.positions(x)), mask)

    def score(self, states: Float[Tensor, "B T d_model"], items: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """r(item) for one item at each place: for the loss."""
        return (states * self.embed(items)).sum(dim=-1)

    @torch.no_grad()
    def score_all(self, histories: Sequence[History]) -> Float[Tensor, "B items"]:
        """r(item) of *all* items after each history; column 0, padding, is -inf. For ``metrics.ndcg_at_k``."""
        items, lengths = pad_histories(histories, len(self.positions.table))
        states = self(items, history_mask(lengths, items.shape[1]))
        last = states[torch.arange(len(items)), lengths - 1]
        return rule_out(last @ self.embed.weight.T, [[PAD]] * len(items))


def history_mask(lengths: Int[Tensor, "B"], T: int) -> Bool[Tensor, "B 1 T T"]:
    """Each item sees itself and those before it, and none sees padding."""
    return causal_mask(T, like=lengths) & padding_mask(lengths, T)


def popularity(histories: Sequence[History], num_items: int) -> Float[Tensor, "items"]:
    """The baseline without attention: how often each item was chosen, by anyone. The same list for everyone."""
    items = torch.tensor([item for history in histories for item in history], dtype=torch.long)
    return torch.bincount(items, minlength=num_items + 1).float().index_fill(0, torch.tensor([PAD]), -torch.inf)


def rule_out(scores: Float[Tensor, "B items"], items: Sequence[History]) -> Float[Tensor, "B items"]:
    """A copy of ``scores`` with -inf for the given items of each user: those already seen, say."""
    scores = scores.clone()
    for row, ruled_out in zip(scores, items, strict=True):
        row[list(ruled_out)] = -torch.inf
    return scores
