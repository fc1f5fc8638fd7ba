"""Speech: many frames in, few symbols out. An attention model that listens and spells, and CTC, which is no attention.

                 AttentionSpeller                       CTCRecogniser
aligns           softly, weights over all frames        hard, one symbol or blank a frame
each symbol      depends on those already written       given the sound, independent of the others
order            any                                    the order of the sound
length           up to an end symbol                    at most the number of frames
trained by       next-symbol loss                       the sum over all alignments
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from attnlab.masks import causal_mask, local_mask, masked_softmax, padding_mask
from attnlab.shapes import Bool, Float, Int, Tensor


def subsample(
    x: Float[Tensor, "B T F"], lengths: Int[Tensor, "B"], factor: int
) -> tuple[Float[Tensor, "B T_out F_out"], Int[Tensor, "B"]]:
    """Stack ``factor`` neighbouring frames into one: T becomes ⌈T / factor⌉, F becomes F · factor.

    Attention over a tenth of the frames costs a tenth, and is easier to learn. The last stack of an utterance is
    filled up with zeros; whatever stood on padding is dropped. Returns the stacks and their new lengths.

    Chan et al., 2016, "Listen, attend and spell" (there between the layers of the encoder).
    """
    if factor < 1:
        raise ValueError(f"subsample needs a factor of at least 1 (which changes nothing), got {factor}.")
    B, T, F = x.shape
    real = padding_mask(lengths, T)[:, 0, 0, :, None]
    x = torch.where(real, x, 0)
    x = nn.functional.pad(x, (0, 0, 0, -T % factor))
    return x.reshape(B, -1, factor * F), (lengths + factor - 1) // factor


def location_aware_scores(
    query: Float[Tensor, "B d_q"],
    keys: Float[Tensor, "B S d_k"],
    previous: Float[Tensor, "B S"],
    W_q: Float[Tensor, "d_q d_a"],
    W_k: Float[Tensor, "d_k d_a"],
    W_f: Float[Tensor, "n_filters d_a"],
    filters: Float[Tensor, "n_filters width"],
    v: Float[Tensor, "d_a"],
) -> Float[Tensor, "B S"]:
    """Additive scores that also see where the model looked before, so that it moves on and does not get lost.

        f = F * α_previous          n_filters convolutions of the last weights, of odd width, centred
        e_s = vᵀ tanh(W_q q + W_k k_s + W_f f_s)

    Two frames that sound alike get different scores if the last glance fell near one of them. The paper's bias is left
    out, as in ``additive``. PyTorch's conv1d slides the filter without turning it round; so does this.

    Chorowski, Bahdanau, Serdyuk, Cho, Bengio, 2015, "Attention-based models for speech recognition".
    """
    width = filters.shape[1]
    if width % 2 == 0:
        raise ValueError(
            f"A filter centred on a frame has an odd width, got {width} in filters {tuple(filters.shape)}."
        )
    f = nn.functional.conv1d(previous[:, None], filters[:, None], padding=width // 2)  # B n_filters S
    hidden = (query @ W_q)[:, None] + keys @ W_k + f.transpose(1, 2) @ W_f  # B S d_a
    return torch.tanh(hidden) @ v


def chunk_mask(T: int, chunk: int, left: int, *, like: Tensor | None = None) -> Bool[Tensor, "T T"]:
    """Streaming: a frame sees its own chunk, whole, and ``left`` chunks before it. Delay: one chunk at most.

        mask[t, s] = 0 ≤ ⌊t / chunk⌋ - ⌊s / chunk⌋ ≤ left

    That is a causal sliding window among chunks, with each chunk then unrolled into its frames. chunk = 1 is the
    sliding window itself, chunk = T is no mask at all.
    """
    if chunk < 1 or left < 0:
        raise ValueError(f"chunk_mask needs chunks of at least 1 frame and 0 or more to the left, got {chunk}, {left}.")
    like = torch.empty(0) if like is None else like
    chunks = -(-T // chunk)
    among_chunks = causal_mask(chunks, like=like) & local_mask(chunks, chunks, left, like=like)
    place = torch.arange(T, device=like.device) // chunk
    return among_chunks[place][:, place]


class Listener(nn.Module):
    """Sound to states, for both models: stack frames, then a bidirectional GRU that skips padding."""

    def __init__(self, num_features: int, d_model: int, factor: int):
        super().__init__()
        if d_model % 2:
            raise ValueError(
                f"Each of the two directions reads into d_model / 2 numbers: d_model is even, got {d_model}."
            )
        self.factor = factor
        self.gru = nn.GRU(num_features * factor, d_model // 2, batch_first=True, bidirectional=True)

    def forward(
        self, x: Float[Tensor, "B T F"], lengths: Int[Tensor, "B"]
    ) -> tuple[Float[Tensor, "B S d_model"], Int[Tensor, "B"]]:
        stacks, lengths = subsample(x, lengths, self.factor)
        packed = pack_padded_sequence(stacks, lengths.cpu(), batch_first=True, enforce_sorted=False)
        memory, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=stacks.shape[1])
        return memory, lengths


class LocationAwareAttention(nn.Module):
    """``location_aware_scores`` with its parameters, and the softmax over the real frames."""

    def __init__(self, d_q: int, d_k: int, d_a: int, n_filters: int, width: int):
        super().__init__()
        self.W_q = nn.Parameter(torch.empty(d_q, d_a))
        self.W_k = nn.Parameter(torch.empty(d_k, d_a))
        self.W_f = nn.Parameter(torch.empty(n_filters, d_a))
        self.filters = nn.Parameter(torch.empty(n_filters, width))
        for matrix in self.parameters():
            nn.init.xavier_uniform_(matrix)
        self.v = nn.Parameter(torch.randn(d_a) * d_a**-0.5)

    def forward(
        self,
        query: Float[Tensor, "B d_q"],
        keys: Float[Tensor, "B S d_k"],
        previous: Float[Tensor, "B S"],
        mask: Bool[Tensor, "B S"],
    ) -> Float[Tensor, "B S"]:
        scores = location_aware_scores(query, keys, previous, self.W_q, self.W_k, self.W_f, self.filters, self.v)
        return masked_softmax(scores, mask)


class AttentionSpeller(nn.Module):
    """Listen, attend, spell: writes one symbol at a time, looking back at the sound for each.

        α_i = softmax( location_aware_scores(s_{i-1}, memory, α_{i-1}) )
        c_i = Σ_s α_is memory_s,   s_i = GRU([y_{i-1}, c_i], s_{i-1}),   logits_i = W [s_i, c_i]

    Symbols 0 and 1 begin and end a text; α_0 rests on the first frame. The paper's encoder is a pyramid of LSTMs;
    ours is one GRU over stacked frames.

    Chan et al., 2016, with the attention of Chorowski et al., 2015.
    """

    BEGIN, END = 0, 1

    def __init__(
        self, num_features: int, num_symbols: int, d_model: int, *, factor: int = 4, n_filters: int = 8, width: int = 7
    ):
        super().__init__()
        self.listener = Listener(num_features, d_model, factor)
        self.embed = nn.Embedding(num_symbols, d_model)
        self.attention = LocationAwareAttention(d_model, d_model, d_model, n_filters, width)
        self.cell = nn.GRUCell(2 * d_model, d_model)
        self.out = nn.Linear(2 * d_model, num_symbols)

    def forward(
        self, x: Float[Tensor, "B T F"], lengths: Int[Tensor, "B"], targets_in: Int[Tensor, "B L"]
    ) -> Float[Tensor, "B L V"]:
        """Logits of every symbol, each given the true ones before it (``targets_in`` starts with BEGIN)."""
        memory, mask, state, weights = self._listen(x, lengths)
        logits = []
        for y in targets_in.unbind(1):
            step, state, weights = self._step(y, memory, mask, state, weights)
            logits.append(step)
        return torch.stack(logits, dim=1)

    @torch.no_grad()
    def transcribe(
        self, x: Float[Tensor, "B T F"], lengths: Int[Tensor, "B"], max_length: int
    ) -> tuple[list[list[int]], Float[Tensor, "B L S"]]:
        """Greedy texts, cut before END, and the weights of every step, to be drawn as an alignment."""
        memory, mask, state, weights = self._listen(x, lengths)
        y = torch.full((len(x),), self.BEGIN, device=x.device)
        symbols, alignment = [], []
        for _ in range(max_length):
            logits, state, weights = self._step(y, memory, mask, state, weights)
            y = logits.argmax(dim=-1)
            symbols.append(y)
            alignment.append(weights)
            if torch.stack(symbols).eq(self.END).any(dim=0).all():
                break
        rows = torch.stack(symbols, dim=1).tolist()
        texts = [row[: row.index(self.END)] if self.END in row else row for row in rows]
        return texts, torch.stack(alignment, dim=1)

    def _listen(self, x, lengths):
        memory, lengths = self.listener(x, lengths)
        B, S, d_model = memory.shape
        mask = padding_mask(lengths, S)[:, 0, 0]
        first_frame = nn.functional.one_hot(torch.zeros(B, dtype=torch.long, device=x.device), S).to(memory.dtype)
        return memory, mask, memory.new_zeros(B, d_model), first_frame

    def _step(self, y, memory, mask, state, weights):
        weights = self.attention(state, memory, weights, mask)
        context = torch.einsum("bs,bsd->bd", weights, memory)
        state = self.cell(torch.cat([self.embed(y), context], dim=-1), state)
        return self.out(torch.cat([state, context], dim=-1)), state, weights


class CTCRecogniser(nn.Module):
    """Connectionist temporal classification: one symbol or a blank (0) for each frame, and no attention anywhere.

    Train with ``torch.nn.functional.ctc_loss``, which sums over all ways to place the symbols among the frames.

    Graves, Fernández, Gomez, Schmidhuber, 2006.
    """

    BLANK = 0

    def __init__(self, num_features: int, num_symbols: int, d_model: int, *, factor: int = 4):
        super().__init__()
        self.listener = Listener(num_features, d_model, factor)
        self.out = nn.Linear(d_model, num_symbols)

    def forward(
        self, x: Float[Tensor, "B T F"], lengths: Int[Tensor, "B"]
    ) -> tuple[Float[Tensor, "B S V"], Int[Tensor, "B"]]:
        """Log-probabilities for each frame that is left, and how many are left."""
        memory, lengths = self.listener(x, lengths)
        return self.out(memory).log_softmax(dim=-1), lengths

    @torch.no_grad()
    def transcribe(self, x: Float[Tensor, "B T F"], lengths: Int[Tensor, "B"]) -> list[list[int]]:
        """The most likely path, collapsed (which is not quite the most likely text)."""
        log_p, lengths = self(x, lengths)
        paths = log_p.argmax(dim=-1).tolist()
        return [ctc_collapse(path[:length]) for path, length in zip(paths, lengths.tolist(), strict=True)]


def ctc_collapse(path: list[int], blank: int = 0) -> list[int]:
    """What a path says: repeated symbols are one, then blanks go. A blank between two of a kind keeps both."""
    starts = [symbol for i, symbol in enumerate(path) if i == 0 or symbol != path[i - 1]]
    return [symbol for symbol in starts if symbol != blank]


def ctc_frames_needed(symbols: list[int]) -> int:
    """The fewest frames on which CTC can write ``symbols``: one each, and a blank between two of a kind."""
    return len(symbols) + sum(a == b for a, b in pairwise(symbols))
