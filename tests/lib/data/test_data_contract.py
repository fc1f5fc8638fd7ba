"""What every data set promises: the same seed gives the same data, no leak, and a description that is honest."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from attnlab.data import (
    characters,
    dates,
    digits,
    grammar,
    histories,
    questions,
    reviews,
    tagged,
    tasks,
    translation,
    utterances,
)
from attnlab.data.corpus import Dataset

LOADERS = {
    "dates": dates.load,
    "translation": translation.load,
    "grammar": grammar.load,
    "tagged": tagged.load,
    "reviews": reviews.load,
    "digits": digits.load,
    "characters": characters.load,
    "questions": questions.load,
    "messages": questions.load_messages,
    "histories": histories.load,
    "utterances": utterances.load,
    "copy": tasks.copy,
    "reversal": tasks.reversal,
    "sort": tasks.sort,
    "induction": tasks.induction,
}
REAL = {"translation", "digits", "characters"}
SIZES = {"characters": 20_000}
# Made of integers alone, hence the same on every system, Python and NumPy: a new figure here means new data.
GOLDEN = {
    "grammar": "cf134511859f",
    "tagged": "566ed196e815",
    "reviews": "1deeb9e58881",
    "questions": "0953dec37e80",
    "messages": "be532a77c115",
    "histories": "5857210acc53",
    "copy": "a9dd2e27e9e9",
    "reversal": "5fdfd63d9820",
    "sort": "231f134fbb88",
    "induction": "e6a7a16b9b77",
}


def plain(value):
    """``value`` as text that does not depend on the order of a set or on where an object lies."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if hasattr(value, "pixels"):
        return plain([value.pixels, value.labels])
    if isinstance(value, frozenset):
        return repr(sorted(value))
    if isinstance(value, list | tuple):
        return "(" + ",".join(map(plain, value)) + ")"
    return repr(value)


def digest(data: Dataset) -> str:
    vocabularies = [v.tokens for v in data.vocabularies.values()]
    return hashlib.sha256(plain([data.train, data.valid, data.test, vocabularies]).encode()).hexdigest()[:12]


def small(name: str, seed: int = 0) -> Dataset:
    return LOADERS[name](size=SIZES.get(name, 100), seed=seed)


@pytest.fixture(scope="module")
def full() -> dict[str, Dataset]:
    """The real ones whole, the others large enough that chance alone would repeat something."""
    return {name: load() if name in REAL else load(size=1_000) for name, load in LOADERS.items()}


def examples(split) -> list[str]:
    """What a model is given of each example, as text."""
    if hasattr(split, "pixels"):
        return [plain(image) for image in split.pixels]
    if isinstance(split, characters.Text):
        return [paragraph for paragraph in split.text.split("\n\n") if paragraph.strip()]
    return [plain(example[0]) for example in split]


@pytest.mark.parametrize("name", LOADERS)
def test_one_seed_gives_one_data_set_and_another_seed_another(name):
    assert digest(small(name)) == digest(small(name))
    assert digest(small(name)) != digest(small(name, seed=1))


def test_data_do_not_depend_on_the_process_or_its_hash_seed():
    program = (
        "import json, test_data_contract as t; print(json.dumps({name: t.digest(t.small(name)) for name in t.LOADERS}))"
    )
    here = {name: digest(small(name)) for name in LOADERS}
    for hash_seed in ("1", "2"):
        paths = os.pathsep.join([os.path.dirname(__file__), *sys.path])
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout) == here


@pytest.mark.parametrize("name", GOLDEN)
def test_data_are_those_of_every_other_machine(name):
    assert digest(small(name)) == GOLDEN[name]


@pytest.mark.parametrize("name", [name for name in LOADERS if name != "histories"])
def test_no_example_of_one_split_is_in_another(full, name):
    train, valid, test = (set(examples(getattr(full[name], split))) for split in ("train", "valid", "test"))
    assert train and valid and test
    assert not train & valid and not train & test and not valid & test


@pytest.mark.parametrize("name", LOADERS)
def test_description_says_what_it_is(full, name):
    data = full[name]
    text = data.describe()
    assert data.kind == ("real" if name in REAL else "synthetic")
    rows = {line[:12].strip(): line[12:] for line in text.splitlines()}
    assert rows["data set"].endswith(f"({data.kind})")
    assert rows["source"] and rows["licence"] and rows["example"] and rows["baseline"]
    assert rows["sizes"] == f"train {len(data.train):,} · valid {len(data.valid):,} · test {len(data.test):,}"


@pytest.mark.parametrize("name", [name for name in LOADERS if name not in ("characters", "histories")])
def test_size_counts_all_three_splits(name):
    data = small(name)
    assert (len(data.valid), len(data.test)) == (10, 10)
    # Of real sentence pairs those in training that resemble a test sentence too much are left out.
    assert len(data.train) == 80 or (name == "translation" and 60 < len(data.train) < 80)
    assert digest(data) == digest(LOADERS[name](100))  # size is the first argument
    with pytest.raises(ValueError, match="size must be at least 10"):
        LOADERS[name](size=9)


@pytest.mark.parametrize("name", [name for name in LOADERS if name not in REAL])
def test_default_vocabularies_hold_what_the_training_split_holds(full, name):
    for vocabulary in full[name].vocabularies.values():
        assert vocabulary.tokens[:4] == ("<pad>", "<bos>", "<eos>", "<unk>")
        assert len(vocabulary) > 10
