"""Utterances: digits that can be found in the frames, tempo that varies, speakers and strings kept apart."""

from collections import Counter

import numpy as np
import pytest

from attnlab.data import pad_frames, utterances
from attnlab.data.utterances import BANDS


@pytest.fixture(scope="module")
def data():
    return utterances.load()


def test_shapes_starts_and_lengths_fit(data):
    for frames, digits, starts, _ in data.train:
        assert frames.shape[1] == BANDS and frames.dtype == np.float32
        assert 3 <= len(digits) <= 6 and len(starts) == len(digits)
        assert all(b - a >= 4 for a, b in zip(starts, (*starts[1:], len(frames)), strict=True))
    batch, lengths = pad_frames([utterance.frames for utterance in data.test])
    assert batch.shape == (100, max(lengths.tolist()), BANDS)


def test_no_speaker_and_no_string_is_in_two_splits(data):
    for key in (lambda u: u.speaker, lambda u: u.digits):
        train, valid, test = ({key(u) for u in split} for split in (data.train, data.valid, data.test))
        assert not train & valid and not train & test and not valid & test
    assert len({u.speaker for u in data.test}) == 4


def test_tempo_varies(data):
    spans = [b - a for u in data.train for a, b in zip(u.starts, u.starts[1:], strict=False)]
    assert max(spans) > 2.5 * min(spans)


def test_silence_is_noise_and_digits_are_louder(data):
    before = np.concatenate([u.frames[: u.starts[0]].ravel() for u in data.train])
    voiced = np.concatenate([u.frames[u.starts[0] : u.starts[-1]].ravel() for u in data.train])
    assert abs(before.mean()) < 0.02 and abs(before.std() - 0.2) < 0.02
    assert voiced.mean() > 0.1


def test_a_digit_can_be_told_from_its_frames(data):
    """Nearest class mean of five frames from each start: far from chance, hence the task can be learned."""

    def windows(split):
        cut = [(u.frames[s : s + 5].ravel(), int(d)) for u in split for s, d in zip(u.starts, u.digits, strict=True)]
        cut = [(x, d) for x, d in cut if len(x) == 5 * BANDS]
        return np.stack([x for x, _ in cut]), np.array([d for _, d in cut])

    x, y = windows(data.train)
    means = np.stack([x[y == digit].mean(0) for digit in range(10)])
    x, y = windows(data.test)
    assert (((x[:, None] - means) ** 2).sum(-1).argmin(1) == y).mean() > 0.7


def test_the_language_is_the_same_for_every_seed():
    first, second = (utterances.load(size=200, seed=seed, noise=0.0, lengths=(1, 4), speakers=10) for seed in (1, 2))
    means = []
    for data in (first, second):
        at = {
            d: [u.frames[s] for u in data.train for s, c in zip(u.starts, u.digits, strict=True) if c == d]
            for d in "0123456789"
        }
        means.append(np.stack([np.mean(at[d], 0) for d in "0123456789"]))
    nearest = ((means[0][:, None] - means[1]) ** 2).sum(-1).argmin(1)
    assert (nearest == np.arange(10)).mean() >= 0.8


def test_errors_are_one_sentence():
    with pytest.raises(ValueError, match=r"10 speakers at least and a noise of 0 or more, got lengths .*, 3 speakers"):
        utterances.load(speakers=3)
    with pytest.raises(ValueError, match="size must be at most 5, which is all there is"):
        utterances.load(lengths=(1, 1), size=10)


def edits(a, b):
    """How many digits must be put in, taken out or changed to make ``a`` into ``b`` (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (x != y)))
    return row[-1]


def test_baseline_is_as_described(data):
    most = Counter("".join(u.digits for u in data.train)).most_common(1)[0][0]
    n = round(np.mean([len(u.digits) for u in data.train]))
    wrong = sum(edits(most * n, u.digits) for u in data.test) / sum(len(u.digits) for u in data.test)
    assert f"about {wrong:.0%} of digits wrong" in data.baseline
