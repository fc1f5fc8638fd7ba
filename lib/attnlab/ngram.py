"""What a character model must beat: an n-gram model that only counts, and gzip, which does not model at all.

A Witten–Bell 5-gram is trained in seconds and is a serious opponent for a small GPT. Print it in the same table.
"""

import gzip

import numpy as np

from attnlab.shapes import Array, Float, Int


class WittenBell:
    """An interpolated n-gram model over characters.

        P(c | h) = ( N(hc) + D(h) · P(c | h') ) / ( N(h) + D(h) )

    N(hc) counts c after the context h (the last ``order`` - 1 characters), N(h) = Σ_c N(hc), and D(h) is the number of
    *different* characters seen after h: the more of them, the more likely a new one. h' is h without its first
    character; below the empty context every symbol is equally likely. At the start of a text the context is shorter.

    The alphabet is the training text's and one symbol more, which stands for every character that it lacks.

    Witten and Bell, 1991, "The zero-frequency problem"; interpolated as in Chen and Goodman, 1999.
    """

    def __init__(self, order: int = 5):
        if order < 1:
            raise ValueError(f"An n-gram model needs an order of at least 1 (characters without context), got {order}.")
        self.order = order

    def fit(self, text: str) -> "WittenBell":
        """Count. N(·) is stored as one sorted array of n-grams a length, an n-gram being a number in base V."""
        self.alphabet = np.unique(_codepoints(text))
        self.V = len(self.alphabet) + 1
        if self.V**self.order >= 2**63:
            raise ValueError(f"{self.order}-grams over {self.V} symbols do not fit into 64 bits: take a lower order.")
        ids = self.encode(text)
        self.tables = []
        for n in range(1, self.order + 1):
            grams, counts = np.unique(_windows(ids, n, self.V), return_counts=True)  # hc and N(hc)
            contexts, first = np.unique(grams // self.V, return_index=True)  # h, where its block of hc begins
            totals = np.add.reduceat(counts, first) if len(counts) else counts  # N(h)
            kinds = np.diff(np.append(first, len(grams)))  # D(h)
            self.tables.append((grams, counts, contexts, totals, kinds))
        return self

    def encode(self, text: str) -> Int[Array, "N"]:
        """Characters as numbers from 0 to V - 1, where V - 1 stands for all that the training text lacks."""
        codes = _codepoints(text)
        ids = np.minimum(np.searchsorted(self.alphabet, codes), self.V - 2)
        return np.where(self.alphabet[ids] == codes, ids, self.V - 1)

    def probabilities(self, text: str) -> Float[Array, "N"]:
        """P(c_t | c_1 … c_{t-1}) of every character of ``text``."""
        ids = self.encode(text)
        p = np.full(len(ids), 1 / self.V)
        for n, table in enumerate(self.tables, start=1):
            p[n - 1 :] = self._interpolate(_windows(ids, n, self.V), p[n - 1 :], table)
        return p

    def next_distribution(self, context: str) -> Float[Array, "V"]:
        """P(· | context) over the whole alphabet; the last entry is for unknown characters."""
        ids = self.encode(context[max(0, len(context) - self.order + 1) :])
        p = np.full(self.V, 1 / self.V)
        for n, table in enumerate(self.tables[: len(ids) + 1], start=1):
            h = _windows(ids[len(ids) - n + 1 :], n - 1, self.V)[0] if n > 1 else 0
            p = self._interpolate(h * self.V + np.arange(self.V), p, table)
        return p

    def nll(self, text: str) -> float:
        """-Σ log P in nats; ``metrics.bits_per_character(model.nll(text), len(text))`` is the number to report."""
        return float(-np.log(self.probabilities(text)).sum())

    def sample(self, length: int, rng: np.random.Generator, prompt: str = "") -> str:
        """``prompt`` continued by ``length`` characters drawn from the model (never the unknown one)."""
        text = prompt
        for _ in range(length):
            p = self.next_distribution(text)[:-1]
            text += chr(self.alphabet[rng.choice(len(p), p=p / p.sum())])
        return text

    def _interpolate(self, grams: Array, shorter: Array, table: tuple) -> Array:
        """The formula above: P(c | h) from P(c | h'), for many hc at once."""
        known, counts, contexts, totals, kinds = table
        h = grams // self.V
        N_hc, N_h, D_h = _look_up(grams, known, counts), _look_up(h, contexts, totals), _look_up(h, contexts, kinds)
        seen = N_h > 0  # after a context never seen, the shorter one decides alone
        return np.where(seen, (N_hc + D_h * shorter) / np.where(seen, N_h + D_h, 1), shorter)


def gzip_bits_per_character(text: str, known: str = "") -> float:
    """How many bits gzip (level 9) needs for a character of ``text``, after it has read ``known``.

    It looks back 32 kB at most, so more ``known`` text than that does not help it; a short text pays for the header.
    """
    if not text:
        raise ValueError("gzip_bits_per_character needs a text of at least one character, got none.")
    sizes = [len(gzip.compress(s.encode(), 9, mtime=0)) for s in (known + text, known)]
    return 8 * (sizes[0] - sizes[1] * bool(known)) / len(text)


def _codepoints(text: str) -> Int[Array, "N"]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)


def _windows(ids: Array, n: int, V: int) -> Int[Array, "M"]:
    """Every run of n symbols, read as a number in base V: one entry for each position that ends such a run."""
    M = max(len(ids) - n + 1, 0)
    codes = np.zeros(M, dtype=np.int64)
    for i in range(n):
        codes = codes * V + ids[i : i + M]
    return codes


def _look_up(queries: Array, keys: Array, values: Array) -> Int[Array, "M"]:
    """values[i] where keys[i] is the query (keys are sorted), 0 where no key is."""
    if not len(keys):
        return np.zeros(len(queries), dtype=np.int64)
    i = np.minimum(np.searchsorted(keys, queries), len(keys) - 1)
    return np.where(keys[i] == queries, values[i], 0)
