"""Decoding: rows stop at their own end, the cache changes nothing, a wide beam is an exhaustive search."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.decoding import (
    CachedStep,
    FullStep,
    beam_search,
    generate,
    greedy_decode,
    keep_top_k,
    keep_top_p,
    length_normalised,
    sample,
)
from attnlab.gpt import GPT
from attnlab.transformer import Transformer

END = 0


class Table:
    """A language whose next token depends on the newest alone: row i of ``log_p`` is what follows i."""

    def __init__(self, p):
        self.log_p = torch.as_tensor(p).log()
        self.rows_seen = []

    def __call__(self, tokens):
        self.rows_seen.append(len(tokens))
        return self.log_p[tokens]

    def select(self, rows):
        pass


def random_table(seed, V):
    return torch.rand(V, V, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(-1)


def test_greedy_takes_the_likeliest_token_until_the_end():
    p = torch.tensor([[1.0, 0, 0, 0], [0.1, 0.2, 0.7, 0], [0.3, 0.1, 0, 0.6], [0.9, 0, 0, 0.1]])
    assert greedy_decode(Table(p), torch.tensor([1]), 9, END) == [[2, 3]]
    assert greedy_decode(Table(p), torch.tensor([1]), 1, END) == [[2]]


def test_rows_stop_independently_and_cost_nothing_afterwards():
    chain = torch.eye(6)[[0, 0, 1, 2, 3, 4]]  # 5 → 4 → … → 1 → end
    table = Table(chain)
    assert greedy_decode(table, torch.tensor([1, 5, 3]), 9, END) == [[], [4, 3, 2, 1], [2, 1]]
    assert table.rows_seen == [3, 2, 2, 1, 1]


def gpt(positions="learned"):
    torch.manual_seed(0)
    return GPT(11, d_model=16, num_heads=2, num_layers=2, max_length=32, positions=positions).eval()


def transformer():
    torch.manual_seed(1)
    return Transformer(13, 11, d_model=16, num_heads=2, num_layers=2, d_ff=23, pad=0).eval()


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_cached_gpt_writes_what_the_full_pass_writes(positions):
    model = gpt(positions)
    prompt = torch.tensor([[3, 5, 7], [2, 9, 4]])
    cached = CachedStep(model, model.start())
    ours = greedy_decode(cached, cached.read(prompt), 17)
    full = FullStep(model, prompt[:, :-1])
    assert ours == greedy_decode(full, prompt[:, -1], 17)
    assert [len(row) for row in ours] == [17, 17]


def ends_differ(model, src, first):
    """An ``end`` at which the rows stop at different lengths."""
    texts = greedy_decode(CachedStep(model, model.start(src)), first, 12)
    for end in range(11):
        lengths = {text.index(end) if end in text else 12 for text in texts}
        if len(lengths) > 1:
            return end
    raise AssertionError("no token ends the rows at different places: draw other weights")


def test_a_batch_writes_what_each_row_writes_alone_though_rows_end_at_different_lengths():
    model = transformer()
    src = torch.tensor([[3, 5, 7, 0, 0], [2, 9, 4, 8, 1], [12, 6, 0, 0, 0]])
    first = torch.tensor([1, 1, 1])
    end = ends_differ(model, src, first)
    together = greedy_decode(CachedStep(model, model.start(src)), first, 12, end)
    alone = [greedy_decode(CachedStep(model, model.start(row[None])), first[:1], 12, end)[0] for row in src]
    assert together == alone


# --- sampling ------------------------------------------------------------------------------------------------------


def test_top_p_keeps_the_token_that_crosses():
    logits = torch.tensor([[0.2, 0.5, 0.3]]).log()
    assert keep_top_p(logits, 0.6).isfinite().tolist() == [[False, True, True]]
    assert keep_top_p(logits, 0.4).isfinite().tolist() == [[False, True, False]]
    assert keep_top_p(logits, 1e-9).isfinite().tolist() == [[False, True, False]]
    assert keep_top_p(logits, 1.0).isfinite().all()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=st.integers(0, 999), p=st.floats(0.01, 1.0))
def test_top_p_keeps_the_smallest_set_that_has_the_mass(seed, p):
    weights = torch.randn(7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).mul(2).softmax(-1)
    kept = keep_top_p(weights.log(), p).isfinite()
    assert weights[kept].sum() >= p - 1e-9
    assert weights[kept].sum() - weights[kept].min() < p + 1e-9
    assert weights[kept].min() >= weights[~kept].max() if (~kept).any() else True


def test_top_k_keeps_k_even_where_logits_tie():
    assert keep_top_k(torch.tensor([[1.0, 1.0, 1.0, 0.0]]), 2).isfinite().sum() == 2
    assert keep_top_k(torch.tensor([[1.0, 3.0, 2.0]]), 2).tolist() == [[-math.inf, 3.0, 2.0]]
    assert keep_top_k(torch.tensor([[1.0, 3.0]]), 9).isfinite().all()


def test_sampling_draws_with_the_probabilities_of_the_tempered_softmax():
    logits = torch.tensor([2.0, 0.0, 1.0])
    drawn = sample(logits.expand(20000, 3), temperature=2.0, rng=torch.Generator().manual_seed(3))
    frequency = torch.bincount(drawn, minlength=3) / 20000
    torch.testing.assert_close(frequency, (logits / 2).softmax(-1), atol=0.01, rtol=0)


def test_sampling_is_repeatable_and_leaves_the_logits_alone():
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    before = logits.clone()
    draws = [sample(logits, 0.7, 5, 0.9, torch.Generator().manual_seed(4)).tolist() for _ in range(2)]
    assert draws[0] == draws[1]
    assert (logits == before).all()
    assert sample(logits, top_k=1).tolist() == logits.argmax(-1).tolist()


def test_sampling_names_what_it_cannot_do():
    logits = torch.zeros(1, 3)
    with pytest.raises(ValueError, match="temperature > 0, got 0"):
        sample(logits, 0.0)
    with pytest.raises(ValueError, match="top_k ≥ 1, got 0"):
        sample(logits, top_k=0)
    with pytest.raises(ValueError, match=r"top_p ≤ 1, got 1\.5"):
        sample(logits, top_p=1.5)


# --- beam search ---------------------------------------------------------------------------------------------------


def exhaustive(p, first, alpha, max_length):
    """Every text, scored: (tokens, log p, score), best first."""
    V, found = len(p), []
    for length in range(max_length + 1):
        for text in itertools.product(range(1, V), repeat=length):
            path = [first, *text]
            log_p = sum(math.log(p[a][b]) for a, b in itertools.pairwise(path))
            if length < max_length:
                log_p += math.log(p[path[-1]][END])
            found.append((list(text), log_p, length_normalised(log_p, min(length + 1, max_length), alpha)))
    return sorted(found, key=lambda h: h[2], reverse=True)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 999), alpha=st.sampled_from([0.0, 0.6, 1.0, 2.0]))
def test_a_beam_as_wide_as_the_language_finds_the_n_best_texts(seed, alpha):
    p = random_table(seed, 3)
    ours = beam_search(Table(p), torch.tensor([1]), width=16, alpha=alpha, max_length=4, end=END, n_best=5)
    every = exhaustive(p.tolist(), 1, alpha, 4)
    assert [h.score for h in ours] == pytest.approx([score for _, _, score in every[:5]])
    for hypothesis in ours:  # texts may tie, so each is looked up by its tokens
        assert any(
            hypothesis.tokens == tokens and hypothesis.log_p == pytest.approx(log_p) for tokens, log_p, _ in every
        )
    assert len({tuple(h.tokens) for h in ours}) == 5


def test_a_beam_keeps_a_finished_text_while_others_go_on():
    p = torch.tensor([[1.0, 0, 0, 0], [0.45, 0.0, 0.55, 0], [0.1, 0, 0, 0.9], [0.1, 0.9, 0, 0]]) + 1e-9
    best, second = beam_search(Table(p), torch.tensor([1]), 2, 0.0, 6, END, n_best=2)
    assert best.tokens == []  # 0.45 at once, against at most 0.55 · 0.9 · …
    assert best.log_p == pytest.approx(math.log(0.45))
    assert second.log_p < best.log_p


def test_alpha_makes_up_for_length():
    p = torch.tensor([[1.0, 0, 0], [0.4, 0.0, 0.6], [0.4, 0.6, 0.0]]) + 1e-9
    lengths = [len(beam_search(Table(p), torch.tensor([1]), 4, a, 8, END)[0].tokens) for a in (0.0, 3.0)]
    assert lengths[0] == 0
    assert lengths[1] > 2


def test_length_norm_is_the_formula():
    assert length_normalised(-6.0, 7, 1.0) == pytest.approx(-3.0)  # (5 + 7) / 6 = 2
    assert length_normalised(-6.0, 7, 0.0) == -6.0


def test_a_beam_of_one_is_greedy():
    model = transformer()
    src = torch.tensor([[3, 5, 7, 2]])
    first = torch.tensor([1])
    (best,) = beam_search(CachedStep(model, model.start(src)), first, 1, 0.0, 9, end=10)
    assert [best.tokens] == greedy_decode(CachedStep(model, model.start(src)), first, 9, end=10)


def test_beam_search_is_the_same_with_a_cache_and_without():
    model = transformer()
    src = torch.tensor([[3, 5, 7, 2]])
    first = torch.tensor([1])
    cached = beam_search(CachedStep(model, model.start(src)), first, 3, 0.6, 9, end=10, n_best=3)
    full = FullStep(lambda tgt: model(src.expand(len(tgt), -1), tgt))
    plain = beam_search(full, first, 3, 0.6, 9, end=10, n_best=3)
    assert [h.tokens for h in cached] == [h.tokens for h in plain]
    assert [h.score for h in cached] == pytest.approx([h.score for h in plain], abs=1e-4)
    assert cached[0].score >= cached[1].score >= cached[2].score


def test_beam_search_takes_one_row():
    with pytest.raises(ValueError, match="one row, width ≥ 1 and n_best ≥ 1, got 2 rows"):
        beam_search(Table(random_table(0, 3)), torch.tensor([1, 1]), 2, 0.0, 3, END)


def test_generate_samples_with_a_cache():
    model = gpt()
    texts = []
    for _ in range(2):
        step, rng = CachedStep(model, model.start()), torch.Generator().manual_seed(2)
        texts.append(generate(step, torch.tensor([3, 5]), 7, lambda logits, rng=rng: sample(logits, 0.8, rng=rng)))
    assert texts[0] == texts[1]
    assert [len(t) for t in texts[0]] == [7, 7]
