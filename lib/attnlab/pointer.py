"""Answers and summaries made of the source's own words: point at a span, or copy a word at a time.

span_scores         question answering: where does the answer begin and end?
copy_distribution   summaries: write a word of the vocabulary, or copy one that the source has
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from attnlab.additive import AdditiveAttention
from attnlab.masks import causal_mask, local_mask, padding_mask
from attnlab.shapes import Bool, Float, Int, Tensor
from attnlab.text_encoders import TextEncoder, WindowEncoder


def span_scores(
    states: Float[Tensor, "B T d"],
    w_start: Float[Tensor, "d"],
    w_end: Float[Tensor, "d"],
    mask: Bool[Tensor, "B T"],
    max_length: int | None = None,
) -> Float[Tensor, "B T T"]:
    """The score of every span: how well it begins, plus how well it ends; -inf where there is no such span.

        scores[b, i, j] = states_i · w_start + states_j · w_end    from i to j, both included

    There is no span with j < i, none of more than ``max_length`` tokens, and none that touches a place where ``mask``
    is False (the question, padding).

    Devlin et al., 2019, "BERT", section 4.2 (which normalises starts and ends apart; see ``span_loss``).
    """
    T = states.shape[1]
    begins, ends = states @ w_start, states @ w_end
    allowed = causal_mask(T, like=mask).T & mask[:, :, None] & mask[:, None, :]  # i ≤ j
    if max_length is not None:
        allowed = allowed & local_mask(T, T, max_length - 1, like=mask)
    return torch.where(allowed, begins[:, :, None] + ends[:, None, :], -torch.inf)


def best_span(scores: Float[Tensor, "B T T"]) -> Int[Tensor, "B 2"]:
    """The best span of each text as (start, end), ``end`` not included, as a slice has it."""
    if scores.isneginf().all(dim=2).all(dim=1).any():
        raise ValueError("best_span found a text without any permitted span: is its mask False everywhere?")
    T = scores.shape[2]
    best = scores.flatten(1).argmax(dim=1)
    return torch.stack([best // T, best % T + 1], dim=1)


def span_loss(scores: Float[Tensor, "B T T"], spans: Int[Tensor, "B 2"]) -> Float[Tensor, ""]:
    """-log p(span), with one softmax over all permitted spans; ``spans`` are (start, end), ``end`` not included."""
    T = scores.shape[2]
    index = spans[:, 0] * T + spans[:, 1] - 1
    if scores.detach().flatten(1).gather(1, index[:, None]).isneginf().any():
        raise ValueError("An answer is not a permitted span: is it longer than max_length, or outside the passage?")
    return nn.functional.cross_entropy(scores.flatten(1), index)


class SpanExtractor(nn.Module):
    """Question and passage as one text; the answer is a span of it. The encoder decides what a state can know."""

    def __init__(self, encoder: TextEncoder | WindowEncoder, max_length: int | None = None):
        super().__init__()
        self.encoder = encoder
        self.max_length = max_length
        self.w_start = nn.Parameter(torch.randn(encoder.d_model) * encoder.d_model**-0.5)
        self.w_end = nn.Parameter(torch.randn(encoder.d_model) * encoder.d_model**-0.5)

    def forward(
        self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B 1 1 T"], passage: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T T"]:
        """``mask`` hides padding; ``passage`` is True where an answer may stand."""
        return span_scores(self.encoder(tokens, mask), self.w_start, self.w_end, passage, self.max_length)


def copy_distribution(
    p_gen: Float[Tensor, "*batch"],
    vocab_dist: Float[Tensor, "*batch V"],
    attention: Float[Tensor, "*batch S"],
    source_ids: Int[Tensor, "*#batch S"],
    extended_size: int,
) -> Float[Tensor, "*batch V_extended"]:
    """Write with probability p_gen, copy otherwise: one distribution over the vocabulary *and* the source's words.

        P(w) = p_gen · P_vocab(w) + (1 - p_gen) · Σ over s with source_s = w of α_s

    A word that stands twice in the source gets both weights. Words that the vocabulary lacks have ids from V on, given
    by ``extended_ids``, so they can be copied although they cannot be written.

    See, Liu, Manning, 2017, "Get to the point: summarization with pointer-generator networks", equation 9.
    """
    V = vocab_dist.shape[-1]
    if extended_size < V or (source_ids.numel() and int(source_ids.max()) >= extended_size):
        raise ValueError(
            f"extended_size must cover the vocabulary of {V} words and the ids of the source, got {extended_size}: "
            "it is V plus the number of unknown words in the source."
        )
    P = nn.functional.pad(p_gen[..., None] * vocab_dist, (0, extended_size - V))
    return P.scatter_add(-1, source_ids.expand(attention.shape), (1 - p_gen[..., None]) * attention)


def extended_ids(words: Sequence[str], vocabulary: dict[str, int]) -> tuple[list[int], list[str]]:
    """Ids of a source's words, and its unknown words: the first different one is V, the next V + 1, and so on."""
    unknown = list(dict.fromkeys(word for word in words if word not in vocabulary))
    extra = {word: len(vocabulary) + i for i, word in enumerate(unknown)}
    return [vocabulary[word] if word in vocabulary else extra[word] for word in words], unknown


class Generator(nn.Module):
    """A recurrent encoder–decoder with additive attention, which can write only what is in its vocabulary.

        α_i = attention(s_{i-1}, h),   c_i = Σ_s α_is h_s,   s_i = GRU([y_{i-1}, c_i], s_{i-1})
        P(w) = softmax(W [s_i, c_i])

    Ids from V on, words that it does not know, it reads as UNKNOWN.
    """

    UNKNOWN = 1

    def __init__(self, vocab: int, d_model: int):
        super().__init__()
        if d_model % 2:
            raise ValueError(
                f"Each of the two directions reads into d_model / 2 numbers: d_model is even, got {d_model}."
            )
        self.tokens = nn.Embedding(vocab, d_model)
        self.read = nn.GRU(d_model, d_model // 2, batch_first=True, bidirectional=True)
        self.attention = AdditiveAttention(d_model, d_model, d_model)
        self.cell = nn.GRUCell(2 * d_model, d_model)
        self.out = nn.Linear(2 * d_model, vocab)

    def forward(
        self, source: Int[Tensor, "B S"], lengths: Int[Tensor, "B"], targets_in: Int[Tensor, "B L"], extended_size: int
    ) -> Float[Tensor, "B L V_extended"]:
        """P of each word, given the true ones before it (``targets_in`` begins with the begin symbol)."""
        memory, s = self._read(source, lengths)
        P = []
        for y in targets_in.unbind(1):
            P_i, s = self._step(y, s, memory, source, lengths, extended_size)
            P.append(P_i)
        return torch.stack(P, dim=1)

    @torch.no_grad()
    def write(
        self, source: Int[Tensor, "B S"], lengths: Int[Tensor, "B"], begin: int, length: int, extended_size: int
    ) -> Int[Tensor, "B length"]:
        """The likeliest word, ``length`` times over; cut each text at its end symbol."""
        memory, s = self._read(source, lengths)
        words = [source.new_full((len(source),), begin)]
        for _ in range(length):
            P_i, s = self._step(words[-1], s, memory, source, lengths, extended_size)
            words.append(P_i.argmax(dim=-1))
        return torch.stack(words[1:], dim=1)

    def _embed(self, words):
        return self.tokens(words.where(words < self.tokens.num_embeddings, self.UNKNOWN))

    def _read(self, source, lengths):
        packed = pack_padded_sequence(self._embed(source), lengths.cpu(), batch_first=True, enforce_sorted=False)
        memory, _ = pad_packed_sequence(self.read(packed)[0], batch_first=True, total_length=source.shape[1])
        return memory, torch.zeros_like(memory[:, 0])

    def _step(self, y, s, memory, source, lengths, extended_size):
        mask = padding_mask(lengths, source.shape[1])[:, 0]
        weights = self.attention.weights(s[:, None], memory, mask)  # B 1 S
        c, y = (weights @ memory)[:, 0], self._embed(y)
        s = self.cell(torch.cat([y, c], dim=-1), s)
        return self._distribution(s, c, y, weights[:, 0], source, extended_size), s

    def _distribution(self, s, c, y, weights, source, extended_size):
        P_vocab = self.out(torch.cat([s, c], dim=-1)).softmax(dim=-1)
        return nn.functional.pad(P_vocab, (0, extended_size - P_vocab.shape[-1]))


class PointerGenerator(Generator):
    """A ``Generator`` that may also copy: p_gen = σ(w · [c_i, s_i, y_{i-1}] + b), then ``copy_distribution``.

    Without the paper's coverage, which keeps long summaries from repeating themselves.
    """

    def __init__(self, vocab: int, d_model: int):
        super().__init__(vocab, d_model)
        self.gate = nn.Linear(3 * d_model, 1)

    def _distribution(self, s, c, y, weights, source, extended_size):
        p_gen = self.gate(torch.cat([c, s, y], dim=-1)).sigmoid()[:, 0]
        P_vocab = self.out(torch.cat([s, c], dim=-1)).softmax(dim=-1)
        return copy_distribution(p_gen, P_vocab, weights, source, extended_size)
