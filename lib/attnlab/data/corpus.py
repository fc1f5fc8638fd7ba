"""What every data set shares: a vocabulary, a padded batch, three splits, and a description that says what it is.

ids 0 1 2 3  are  <pad> <bos> <eos> <unk>  in every vocabulary; padding is always 0.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import numpy as np
import torch

from attnlab.shapes import Array, Float, Int, Tensor

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")

Item = TypeVar("Item")
Examples = TypeVar("Examples", bound=Sized)


class Vocabulary:
    """Tokens and their ids: the four special ones first, then ``tokens`` in the order given."""

    def __init__(self, tokens: Iterable[str]):
        self.tokens = SPECIALS + tuple(tokens)
        self._ids = {token: i for i, token in enumerate(self.tokens)}
        if len(self._ids) < len(self.tokens):
            twice = next(token for token, n in Counter(self.tokens).items() if n > 1)
            raise ValueError(f"a vocabulary lists each token once, but {twice!r} came twice")

    @classmethod
    def of(cls, sequences: Iterable[Iterable[str]], min_count: int = 1, max_size: int | None = None) -> "Vocabulary":
        """The tokens of ``sequences`` that occur ``min_count`` times, most frequent first, ties in code-point order.

        ``max_size`` counts the special tokens too. Give it the training split only.
        """
        counts = Counter(token for sequence in sequences for token in sequence if token not in SPECIALS)
        ranked = sorted((token for token, n in counts.items() if n >= min_count), key=lambda t: (-counts[t], t))
        return cls(ranked if max_size is None else ranked[: max(0, max_size - len(SPECIALS))])

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __getitem__(self, token: str) -> int:
        return self._ids.get(token, UNK)

    def encode(self, tokens: Iterable[str], bos: bool = False, eos: bool = False) -> list[int]:
        """The ids of ``tokens``; what the vocabulary does not hold becomes ``UNK``."""
        return [BOS] * bos + [self[token] for token in tokens] + [EOS] * eos

    def decode(self, ids: Iterable[int] | Int[Tensor, "T"]) -> list[str]:
        """The tokens of ``ids`` up to the first ``EOS``, without padding and ``BOS``."""
        tokens = []
        for i in map(int, ids):
            if i == EOS:
                break
            if not 0 <= i < len(self):
                raise ValueError(f"id {i} lies outside a vocabulary of {len(self)} tokens; was it made with another?")
            if i not in (PAD, BOS):
                tokens.append(self.tokens[i])
        return tokens


def pad_batch(sequences: Sequence[Sequence[int]]) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B"]]:
    """Sequences of ids, padded at the end with ``PAD`` to the longest, and their lengths."""
    lengths = torch.tensor([len(sequence) for sequence in sequences], dtype=torch.int64)
    ids = torch.full((len(sequences), max(map(len, sequences), default=0)), PAD, dtype=torch.int64)
    for row, sequence in zip(ids, sequences, strict=True):
        row[: len(sequence)] = torch.as_tensor(sequence, dtype=torch.int64)
    return ids, lengths


def pad_frames(utterances: Sequence[Array]) -> tuple[Float[Tensor, "B T F"], Int[Tensor, "B"]]:
    """Arrays of frames (T_i, F), padded at the end with zeros to the longest, and their lengths."""
    widths = sorted({frames.shape[-1] for frames in utterances if frames.ndim == 2})
    if len(widths) != 1 or any(frames.ndim != 2 for frames in utterances):
        shapes = [frames.shape for frames in utterances]
        raise ValueError(f"a batch of frames needs arrays (T, F) of one width F, got {shapes}")
    lengths = torch.tensor([len(frames) for frames in utterances], dtype=torch.int64)
    batch = torch.zeros((len(utterances), int(lengths.max()), widths[0]), dtype=torch.float32)
    for row, frames in zip(batch, utterances, strict=True):
        row[: len(frames)] = torch.as_tensor(frames, dtype=torch.float32)
    return batch, lengths


@dataclass(frozen=True)
class Dataset(Generic[Examples]):
    """Three splits without leaks, the vocabularies of the training split, and where it all comes from."""

    name: str
    kind: Literal["real", "synthetic"]
    source: str
    licence: str
    train: Examples
    valid: Examples
    test: Examples
    example: str
    baseline: str
    """What next to no learning reaches at the default size and seed; empty where it was not measured."""
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)
    notes: str = ""

    def describe(self) -> str:
        """Name, real or synthetic, source, licence, sizes, vocabularies, an example, the baseline: one a line."""
        sizes = " · ".join(f"{split} {len(getattr(self, split)):,}" for split in ("train", "valid", "test"))
        vocabularies = " · ".join(f"{name} {len(v):,}" for name, v in self.vocabularies.items())
        rows = {
            "data set": f"{self.name} ({self.kind})",
            "source": self.source,
            "licence": self.licence,
            "sizes": sizes,
            "vocabulary": vocabularies,
            "example": self.example,
            "baseline": self.baseline and f"{self.baseline} (at the default size and seed)",
            "notes": self.notes,
        }
        return "\n".join(f"{name:<12}{text}" for name, text in rows.items() if text)

    def __repr__(self) -> str:
        return f"<{self.kind} data set {self.name!r}: {len(self.train):,} / {len(self.valid):,} / {len(self.test):,}>"


def check_size(size: int, at_most: int | None = None) -> None:
    """Ten examples are the fewest that fill three splits."""
    if size < 10:
        raise ValueError(f"size must be at least 10, so that each of the three splits gets an example; got {size}")
    if at_most is not None and size > at_most:
        raise ValueError(f"size must be at most {at_most:,}, which is all there is here; got {size:,}")


def split_sizes(n: int) -> tuple[int, int, int]:
    """Eight tenths to train, a tenth to validate, a tenth to test."""
    tenth = n // 10
    return n - 2 * tenth, tenth, tenth


def cut(items: Sequence[Item]) -> tuple[list[Item], list[Item], list[Item]]:
    """``items`` in their order, cut into train, valid and test."""
    n_train, n_valid, _ = split_sizes(len(items))
    return list(items[:n_train]), list(items[n_train : n_train + n_valid]), list(items[n_train + n_valid :])


def shuffled(items: Sequence[Item], rng: np.random.Generator) -> list[Item]:
    """``items`` in an order drawn from ``rng``; ``items`` itself is left alone."""
    return [items[i] for i in rng.permutation(len(items))]


def pick(items: Sequence[Item], rng: np.random.Generator) -> Item:
    """One of ``items``, each as likely as the others."""
    return items[int(rng.integers(len(items)))]


def missing(package: str, what: str) -> ImportError:
    """The one sentence said when the package that carries a data set is not installed."""
    return ImportError(f"{what} come from the package {package}, which is not installed: pip install {package}")
