"""Chapter 15: what it records of sacreBLEU is true, and its exercises agree with the library and with sacreBLEU."""

import ast

import numpy as np
import pytest
import sacrebleu
import torch

from attnlab import decoding
from autograder.exercises import ch15_decoding as chapter
from course.paths import CHAPTERS

FIRST, END = chapter.FIRST, chapter.END


def constants(*names):
    """Constants that the chapter's source defines."""
    tree = ast.parse((CHAPTERS / "15_decoding.py").read_text(encoding="utf-8"))
    found = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in names
    }
    return [found[name] for name in names]


def sacre(hypotheses, references):
    streams = [[refs[min(i, len(refs) - 1)] for refs in references] for i in range(max(map(len, references)))]
    return sacrebleu.corpus_bleu(hypotheses, streams, tokenize="none", force=True).score


def test_the_recorded_score_is_that_of_sacrebleu():
    hypotheses, references, recorded = constants("HYPOTHESES", "REFERENCES", "SACREBLEU")
    assert recorded == pytest.approx(sacre(hypotheses, references), abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_the_exercise_equals_sacrebleu_where_nothing_needs_smoothing(seed):
    rng = np.random.default_rng(seed)
    hypotheses, references = chapter._corpus(rng, 6, several=1 + seed % 3, cut=seed % 2, more=seed % 3)
    joined = [[" ".join(ref) for ref in refs] for refs in references]
    want = sacre([" ".join(h) for h in hypotheses], joined)
    assert chapter.corpus_bleu.reference(hypotheses, references) == pytest.approx(want)
    assert want > 0


class Cacheless:
    """A step of the chapter's as one of the library's, which is given the newest token of each row and remembers."""

    def __init__(self, step):
        self.step, self.tokens = step, None

    def __call__(self, newest):
        newest = newest[:, None]
        self.tokens = newest if self.tokens is None else torch.cat([self.tokens, newest], dim=1)
        return self.step(self.tokens)

    def select(self, rows):
        self.tokens = self.tokens[rows]


def language(seed, rows):
    return chapter._language(np.random.default_rng(seed), rows).logits


@pytest.mark.parametrize("seed", range(5))
def test_greedy_writes_what_the_library_writes(seed):
    first = torch.tensor([FIRST, 3, 4, 5])
    step = language(seed, 4)
    ours = chapter.greedy_decode.reference(step, first, END, 6)
    assert ours == decoding.greedy_decode(Cacheless(step), first, 6, END)
    assert len(set(map(len, ours))) > 1 or seed != 0  # rows end at different places


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_what_the_library_finds(seed, alpha):
    step = language(seed, 10**4)
    text, score = chapter.beam_search.reference(step, FIRST, END, 400, alpha, 4)
    (theirs,) = decoding.beam_search(Cacheless(step), torch.tensor([FIRST]), 400, alpha, 4, END)
    assert text == theirs.tokens
    assert score == pytest.approx(theirs.score)


@pytest.mark.parametrize(("top_k", "top_p"), [(3, None), (None, 0.7), (4, 0.6)])
def test_what_can_be_drawn_is_what_the_library_keeps(top_k, top_p):
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    kept = logits / 1.3
    if top_k is not None:
        kept = decoding.keep_top_k(kept, top_k)
    if top_p is not None:
        kept = decoding.keep_top_p(kept, top_p)
    torch.testing.assert_close(chapter._kept(logits, 1.3, top_k, top_p), kept.softmax(-1))
