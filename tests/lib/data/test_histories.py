"""Histories: nobody chooses twice, fame is skewed, order matters, and no later choice leaks into an earlier split."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from attnlab.data import histories


@pytest.fixture(scope="module")
def data():
    return histories.load()


def test_items_are_numbered_from_one_and_chosen_once():
    found = histories.generate(users=97, items=211, seed=0)
    assert len(found) == 97
    for items in found:
        assert 8 <= len(items) <= 40 and len(set(items.tolist())) == len(items)
        assert items.min() >= 1 and items.max() <= 211


def test_leave_one_out_by_hand():
    train, valid, test = histories.leave_one_out([np.array([7, 3, 9, 5, 2])])
    assert train == [(0, (7, 3), 9)]
    assert valid == [(0, (7, 3, 9), 5)]
    assert test == [(0, (7, 3, 9, 5), 2)]


def test_no_target_was_seen_by_an_earlier_split(data):
    for train, valid, test in zip(data.train, data.valid, data.test, strict=True):
        assert train.user == valid.user == test.user
        assert valid.history == (*train.history, train.target) and test.history == (*valid.history, valid.target)
        assert valid.target not in valid.history and test.target not in test.history


def test_fame_is_skewed(data):
    counts = np.sort(np.bincount([item for x in data.test for item in x.history]))[::-1]
    assert counts[:40].sum() > 0.2 * counts.sum()  # a tenth of the items, twice its share


def test_errors_are_one_sentence():
    with pytest.raises(ValueError, match="a user and 80 items at least, got 5 users, 20 items"):
        histories.generate(users=5, items=20, seed=0)
    with pytest.raises(ValueError, match="user 1 has 3 items; leaving two out takes 4 at least"):
        histories.leave_one_out([np.arange(4), np.arange(3)])


def test_your_own_ratings_are_read_in_the_order_of_time(tmp_path):
    path = tmp_path / "u.data"
    rows = [("u", "a", 5, 4), ("u", "b", 3, 1), ("v", "a", 1, 1), ("u", "c", 2, 3), ("u", "d", 2, 2)]
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    data = histories.load_file(path)
    assert data.test == [(0, (2, 4, 3), 1)] and data.kind == "real"  # v has too few
    path.write_text("u\ta\t5\t4\nu,b,3,1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"u\.data, line 2: expected user, item, rating and time .* got 'u,b,3,1'"):
        histories.load_file(path)
    path.write_text("u\ta\t5\tnoon\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"u\.data, line 1"):
        histories.load_file(path)
    path.write_text("u\ta\t5\t4\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"u\.data holds no user with 4 choices or more"):
        histories.load_file(path)


def test_baseline_is_as_described(data):
    fame = Counter(item for x in data.test for item in x.history)
    following = defaultdict(Counter)
    for x in data.test:
        for a, b in zip(x.history, x.history[1:], strict=False):
            following[a][b] += 1

    def best(x, *rankings):
        ranked = [i for counts in rankings for i in sorted(counts, key=lambda i: (-counts[i], i)) if i not in x.history]
        return list(dict.fromkeys(ranked))[:10]

    popular = np.mean([x.target in best(x, fame) for x in data.test])
    after = np.mean([x.target in best(x, following[x.history[-1]], fame) for x in data.test])
    assert f"most popular items: {popular:.0%} of targets" in data.baseline
    assert f"after the last item: {after:.0%}" in data.baseline
