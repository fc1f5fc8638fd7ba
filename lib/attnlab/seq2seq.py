"""Attention in a recurrent encoder–decoder: while it writes, the decoder looks back at all that the encoder read.

    read     h_1 … h_S = BiGRU(x)
    compare  e_ts = score(decoder state, h_s)
    average  α_t = softmax(e_t),    c_t = Σ_s α_ts h_s
    write    y_t from the state and c_t

Bahdanau compares with the state *before* the step, s_{t−1}; Luong with the state *after* it, s_t. The baseline never
looks back: all that it has is one vector of fixed size.

References: Cho et al., "Learning Phrase Representations using RNN Encoder–Decoder", 2014; Bahdanau, Cho, Bengio,
"Neural Machine Translation by Jointly Learning to Align and Translate", 2015; Luong, Pham, Manning, "Effective
Approaches to Attention-based Neural Machine Translation", 2015.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from attnlab.additive import AdditiveAttention
from attnlab.masks import masked_softmax, padding_mask
from attnlab.shapes import Float, Int, Tensor


class Memory(NamedTuple):
    """What a decoder may look at while it writes."""

    values: Tensor  # (B, S, d_memory)  the encoder's states, h
    keys: Tensor  # (B, S, d_hidden)  the same, projected once for all steps (h itself where nothing is projected)
    mask: Tensor  # (B, 1, S)  True = a token, False = padding


class Step(NamedTuple):
    """What one step of a decoder gives."""

    features: Tensor  # (B, d_features)  what the next token is read off from
    state: Tensor  # (B, d_state)  what the next step starts from
    weights: Tensor  # (B, S)  where it looked; all zero for a decoder that does not look


class Encoder(nn.Module):
    """A GRU over the source in both directions: h_s has read up to s from the left and down to s from the right."""

    def __init__(self, vocabulary: int, d_embed: int, d_hidden: int):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, d_embed)
        self.gru = nn.GRU(d_embed, d_hidden, batch_first=True, bidirectional=True)

    def forward(
        self, source: Int[Tensor, "B S"], lengths: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B S d_memory"], Float[Tensor, "B d_memory"]]:
        """All states, and the two last ones side by side; d_memory = 2 · d_hidden.

        Packing makes the backward direction start at each sequence's own end: padding is never read.
        """
        packed = pack_padded_sequence(self.embed(source), lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, last = self.gru(packed)
        h, _ = pad_packed_sequence(states, batch_first=True, total_length=source.shape[1])
        return h, torch.cat([last[0], last[1]], -1)


@runtime_checkable
class Decoder(Protocol):
    """What ``Seq2Seq`` asks of a decoder."""

    embed: nn.Embedding
    readout: nn.Linear  # features → a logit for each word

    def start(self, h: Tensor, last: Tensor, mask: Tensor) -> tuple[Memory, Tensor]:
        """What it will look at, and its first state, from the encoder's states and its last one."""

    def step(self, embedded: Tensor, state: Tensor, memory: Memory) -> Step:
        """One more word, given the one before."""


def decoder_step(
    embedded: Float[Tensor, "B d_embed"],
    previous: Float[Tensor, "B d_hidden"],
    memory: Memory,
    attention: AdditiveAttention,
    cell: nn.GRUCell,
) -> tuple[Float[Tensor, "B d_hidden"], Float[Tensor, "B d_memory"], Float[Tensor, "B S"]]:
    """Bahdanau's step: look back with the *previous* state, then move on with what was seen.

        e_ts = vᵀ tanh(W_q s_{t−1} + W_k h_s)    c_t = Σ_s α_ts h_s    s_t = GRU([y_{t−1}; c_t], s_{t−1})

    The state s_t does not exist yet when it is decided where to look: it depends on what is seen. Returns s_t, c_t
    and α_t.
    """
    weights = attention.weights_over(memory.keys, previous[:, None], memory.mask)  # (B, 1, S)
    context = (weights @ memory.values)[:, 0]
    state = cell(torch.cat([embedded, context], -1), previous)
    return state, context, weights[:, 0]


class BahdanauDecoder(nn.Module):
    """Additive attention with the previous state. The paper's maxout readout is one linear layer here."""

    def __init__(self, vocabulary: int, d_embed: int, d_memory: int, d_hidden: int):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, d_embed)
        self.first = nn.Linear(d_memory, d_hidden)
        self.attention = AdditiveAttention(d_hidden, d_memory, d_hidden)
        self.cell = nn.GRUCell(d_embed + d_memory, d_hidden)
        self.readout = nn.Linear(d_hidden + d_memory + d_embed, vocabulary)

    def start(
        self, h: Float[Tensor, "B S d_memory"], last: Float[Tensor, "B d_memory"], mask: Tensor
    ) -> tuple[Memory, Float[Tensor, "B d_hidden"]]:
        return Memory(h, self.attention.W_k(h), mask), torch.tanh(self.first(last))

    def step(self, embedded: Float[Tensor, "B d_embed"], state: Float[Tensor, "B d_hidden"], memory: Memory) -> Step:
        state, context, weights = decoder_step(embedded, state, memory, self.attention, self.cell)
        return Step(torch.cat([state, context, embedded], -1), state, weights)


class LuongDecoder(nn.Module):
    """Attention with the current state, and "input feeding": what was concluded is part of the next step's input.

        s_t = GRU([y_{t−1}; h̃_{t−1}], s_{t−1})    α_t = softmax(score(s_t, h))    h̃_t = tanh(W_c [c_t; s_t])

    ``score`` is a module of ``attnlab.luong``: DotScore, GeneralScore or ConcatScore. The paper stacks LSTMs; this is
    one GRU. The state carried between steps is s and h̃, side by side.
    """

    def __init__(self, vocabulary: int, d_embed: int, d_memory: int, d_hidden: int, score: nn.Module):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, d_embed)
        self.first = nn.Linear(d_memory, d_hidden)
        self.score = score
        self.cell = nn.GRUCell(d_embed + d_hidden, d_hidden)
        self.W_c = nn.Linear(d_memory + d_hidden, d_hidden, bias=False)
        self.readout = nn.Linear(d_hidden, vocabulary)

    def start(
        self, h: Float[Tensor, "B S d_memory"], last: Float[Tensor, "B d_memory"], mask: Tensor
    ) -> tuple[Memory, Float[Tensor, "B d_state"]]:
        s = torch.tanh(self.first(last))
        return Memory(h, h, mask), torch.cat([s, torch.zeros_like(s)], -1)

    def step(self, embedded: Float[Tensor, "B d_embed"], state: Float[Tensor, "B d_state"], memory: Memory) -> Step:
        s, fed = state.chunk(2, -1)
        s = self.cell(torch.cat([embedded, fed], -1), s)
        weights = masked_softmax(self.score(s, memory.keys), memory.mask[:, 0])
        context = (weights[:, None] @ memory.values)[:, 0]
        concluded = torch.tanh(self.W_c(torch.cat([context, s], -1)))
        return Step(concluded, torch.cat([s, concluded], -1), weights)


class FixedContextDecoder(nn.Module):
    """The baseline: the same context at every step, the encoder's last states. Nothing to look at, however long."""

    def __init__(self, vocabulary: int, d_embed: int, d_memory: int, d_hidden: int):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, d_embed)
        self.first = nn.Linear(d_memory, d_hidden)
        self.cell = nn.GRUCell(d_embed + d_memory, d_hidden)
        self.readout = nn.Linear(d_hidden + d_memory + d_embed, vocabulary)

    def start(
        self, h: Float[Tensor, "B S d_memory"], last: Float[Tensor, "B d_memory"], mask: Tensor
    ) -> tuple[Memory, Float[Tensor, "B d_hidden"]]:
        context = last[:, None].expand_as(h)
        return Memory(context, context, mask), torch.tanh(self.first(last))

    def step(self, embedded: Float[Tensor, "B d_embed"], state: Float[Tensor, "B d_hidden"], memory: Memory) -> Step:
        context = memory.values[:, 0]
        state = self.cell(torch.cat([embedded, context], -1), state)
        return Step(torch.cat([state, context, embedded], -1), state, torch.zeros_like(memory.values[..., 0]))


class Seq2Seq(nn.Module):
    """Reads a source, writes a target. Ids of padding, begin and end as given."""

    def __init__(self, encoder: Encoder, decoder: Decoder, pad: int = 0, bos: int = 1, eos: int = 2):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.pad, self.bos, self.eos = pad, bos, eos

    def start(self, source: Int[Tensor, "B S"]) -> tuple[Memory, Tensor]:
        """Read the source: what the decoder may look at, and its first state."""
        lengths = (source != self.pad).sum(-1)
        h, last = self.encoder(source, lengths)
        return self.decoder.start(h, last, padding_mask(lengths, source.shape[1])[:, 0])

    def forward(self, source: Int[Tensor, "B S"], target: Int[Tensor, "B T"]) -> Float[Tensor, "B T vocabulary"]:
        """Teacher forcing: logits for the word after each word of ``target``, which begins with ``bos``."""
        features, _ = self._run(source, target)
        return self.decoder.readout(features)

    def weights(self, source: Int[Tensor, "B S"], target: Int[Tensor, "B T"]) -> Float[Tensor, "B T S"]:
        """Where it looks before it writes the word after each word of ``target``."""
        return self._run(source, target)[1]

    def _run(self, source, target):
        memory, state = self.start(source)
        steps: list[Step] = []
        for embedded in self.decoder.embed(target).unbind(1):
            steps.append(self.decoder.step(embedded, state, memory))
            state = steps[-1].state
        return torch.stack([step.features for step in steps], 1), torch.stack([step.weights for step in steps], 1)

    @torch.no_grad()
    def greedy_decode(
        self, source: Int[Tensor, "B S"], max_length: int
    ) -> tuple[Int[Tensor, "B T"], Float[Tensor, "B T S"]]:
        """Take the likeliest word, again and again: the words up to and with ``eos``, padded, and where it looked.

        A sequence that has ended waits, with padding and zero weights, for the others; none exceeds ``max_length``.
        """
        if max_length < 1:
            raise ValueError(f"greedy_decode expects a max_length of 1 or more, got {max_length}")
        memory, state = self.start(source)
        word = torch.full_like(source[:, 0], self.bos)
        ended = torch.zeros_like(word, dtype=torch.bool)
        words: list[Tensor] = []
        looked: list[Tensor] = []
        while len(words) < max_length and not ended.all():
            features, state, weights = self.decoder.step(self.decoder.embed(word), state, memory)
            word = self.decoder.readout(features).argmax(-1).masked_fill(ended, self.pad)
            words.append(word)
            looked.append(weights.masked_fill(ended[:, None], 0.0))
            ended = ended | (word == self.eos)
        return torch.stack(words, 1), torch.stack(looked, 1)
