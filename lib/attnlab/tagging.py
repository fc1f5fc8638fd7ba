"""Tagging: one label a word, read off a model that works on pieces of words."""

from collections.abc import Sequence

from torch import nn

from attnlab.shapes import Bool, Float, Int, Tensor
from attnlab.text_encoders import TextEncoder, WindowEncoder

IGNORE = -100  # the label of positions that have none; PyTorch's losses skip it by default


def align_labels(word_labels: Sequence[int], word_ids: Sequence[int | None], ignore: int = IGNORE) -> list[int]:
    """Labels for the pieces of words: the first piece has the word's label, the others have none.

        word_ids     None  0     1     1     2     None      which word each piece comes from
        word_labels        5     7           3
        labels       -100  5     7     -100  3     -100

    Were every piece labelled, long words would count more often, and a span could begin twice. Special tokens
    (``None``) have no label. Devlin et al., 2019, "BERT", section 5.3.
    """
    last = max((word for word in word_ids if word is not None), default=-1)
    if last >= len(word_labels):
        raise ValueError(
            f"A piece belongs to word {last}, but only {len(word_labels)} words have labels: "
            "are the word_ids those of another sentence?"
        )
    labels, previous = [], None
    for word in word_ids:
        labels.append(ignore if word is None or word == previous else word_labels[word])
        previous = word
    return labels


def tag_loss(logits: Float[Tensor, "B T C"], labels: Int[Tensor, "B T"], ignore: int = IGNORE) -> Float[Tensor, ""]:
    """-log p(label), averaged over the positions that have a label; 0 where none has.

    Divided by all B · T positions instead, the loss would depend on how much padding a batch has.
    """
    total = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=ignore, reduction="sum")
    return total / (labels != ignore).sum().clamp(min=1)


class Tagger(nn.Module):
    """A linear layer at each position, on the states of a ``TextEncoder``, or of the baseline, a ``WindowEncoder``."""

    def __init__(self, encoder: TextEncoder | WindowEncoder, num_tags: int):
        super().__init__()
        self.encoder = encoder
        self.out = nn.Linear(encoder.d_model, num_tags)

    def forward(self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "..."] | None = None) -> Float[Tensor, "B T C"]:
        return self.out(self.encoder(tokens, mask))
