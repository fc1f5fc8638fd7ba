"""Reading heads: induction on hand-made weights, ablation as a sum of heads, and weights that explain nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.gpt import GPT
from attnlab.heads import (
    ablate_head,
    attention_maps,
    head_effects,
    induction_score,
    same_output_weights,
    without_head,
)
from attnlab.masks import causal_mask
from attnlab.multi_head import (
    FusedMultiHeadAttention,
    MultiHeadAttention,
    merge_heads,
    multi_head_attention,
    split_heads,
)
from attnlab.text_encoders import TextEncoder

B, T, H, D_V = 2, 7, 3, 5


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_induction_score_by_hand():
    """A B C A: only the last A has occurred before, and B followed it. One head looks at B, one at itself, one both."""
    tokens = torch.tensor([[1, 2, 3, 1]])
    weights = torch.eye(4).repeat(1, 3, 1, 1)
    weights[0, 0, 3] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    weights[0, 2, 3] = torch.tensor([0.0, 0.5, 0.0, 0.5])
    assert induction_score(weights, tokens).tolist() == [1, 0, 0.5]


def test_a_token_repeated_at_once_is_followed_by_itself():
    weights = torch.eye(3)[None, None]
    assert induction_score(weights, torch.tensor([[4, 4, 4]])).tolist() == [1]


def test_without_repetition_there_is_nothing_to_induce():
    assert induction_score(torch.full((1, 2, 5, 5), 0.2), torch.arange(5)[None]).tolist() == [0, 0]


def test_a_fixed_glance_back_passes_for_induction_where_every_text_repeats_at_that_distance():
    once = torch.stack([torch.randperm(7, generator=torch.Generator().manual_seed(i)) for i in range(3)])
    back_six = torch.diag(torch.ones(8), -6).expand(3, 1, 14, 14)
    assert induction_score(back_six, once.repeat(1, 2)).item() == 1
    assert induction_score(back_six, once[:, :5].repeat(1, 3)[:, :14]).item() == 0


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.integers(0, 99))
def test_induction_score_is_what_the_loops_find(tokens, seed):
    n = len(tokens)
    weights = (random(1, H, n, n, seed=seed) + torch.where(causal_mask(n, like=torch.empty(0)), 0.0, -1e9)).softmax(-1)
    attended = [
        weights[0, :, t, [j + 1 for j in range(t) if tokens[j] == tokens[t]]].sum(-1)
        for t in range(n)
        if tokens[t] in tokens[:t]
    ]
    expected = torch.stack(attended).mean(0) if attended else torch.zeros(H, dtype=torch.float64)
    torch.testing.assert_close(induction_score(weights, torch.tensor([tokens])), expected)


def test_the_output_is_the_sum_of_what_each_head_adds():
    heads, W_o = random(B, H, T, D_V), random(H * D_V, 11, seed=1)
    before = heads.clone()
    whole = merge_heads(heads) @ W_o
    parts = [whole - ablate_head(heads, h, W_o) for h in range(H)]
    torch.testing.assert_close(sum(parts), whole)
    torch.testing.assert_close(parts[1], heads[:, 1] @ W_o[D_V : 2 * D_V])
    assert torch.equal(heads, before)


@pytest.mark.parametrize("head", [-1, 3])
def test_a_head_that_is_not_there(head):
    with pytest.raises(ValueError, match=f"no head {head} among 3 heads"):
        ablate_head(random(B, H, T, D_V), head, random(H * D_V, 11))
    with pytest.raises(ValueError, match=f"no head {head} in layer 0"):
        without_head(MultiHeadAttention(15, 3), 0, head)


@pytest.mark.parametrize("Attention", [MultiHeadAttention, FusedMultiHeadAttention])
def test_a_model_without_a_head_is_the_formula_without_it_and_a_copy(Attention):
    torch.manual_seed(0)
    whole = Attention(15, 3, bias=False).double().eval()
    x = random(B, T, 15)
    W_q, W_k, W_v, W_o = (W.weight.T for W in (whole.W_q, whole.W_k, whole.W_v, whole.W_o))
    before = whole(x, x, x)
    torch.testing.assert_close(before, multi_head_attention(x, x, x, W_q, W_k, W_v, W_o, 3))
    heads = whole.weights(x, x) @ split_heads(x @ W_v, 3)
    silent = without_head(whole, 0, 1)
    torch.testing.assert_close(silent(x, x, x), ablate_head(heads, 1, W_o))
    assert torch.equal(whole(x, x, x), before)


def test_attention_maps_of_an_encoder_and_of_a_gpt():
    torch.manual_seed(0)
    tokens = torch.randint(11, (B, T))
    encoder = TextEncoder(11, 8, 2, 3).eval()
    maps = attention_maps(encoder, tokens)
    assert [m.shape for m in maps] == [(B, 2, T, T)] * 3
    layer, x = encoder.encoder.layers[0], encoder.positions(encoder.tokens(tokens))
    torch.testing.assert_close(maps[0], layer.self_attention.weights(layer.norm_1(x), layer.norm_1(x)))
    assert "attend" not in vars(layer.self_attention)  # as it was before

    for weights in attention_maps(GPT(11, 8, 2, 3, positions="rotary").eval(), tokens):
        torch.testing.assert_close(weights.sum(-1), torch.ones(B, 2, T))
        assert (weights.masked_select(~causal_mask(T, like=tokens)) == 0).all()


def test_attention_is_as_before_even_when_the_model_fails():
    encoder = TextEncoder(11, 8, 2, 1)
    with pytest.raises(IndexError):
        attention_maps(encoder, torch.tensor([[12]]))
    assert "attend" not in vars(encoder.encoder.layers[0].self_attention)


def test_only_a_head_that_matters_has_an_effect():
    torch.manual_seed(0)
    model = TextEncoder(11, 8, 2, 2).eval()
    tokens = torch.randint(11, (B, T))
    whole = model(tokens)
    model = without_head(model, 1, 0)  # now silent already: to take it away once more changes nothing
    whole = model(tokens)
    effects = head_effects(model, lambda m: (m(tokens) - whole).abs().mean().item())
    assert len(effects) == 2 and all(len(layer) == 2 for layer in effects)
    assert effects[1][0] == 0
    assert min(effects[0][0], effects[0][1], effects[1][1]) > 1e-4


def test_same_output_weights_by_hand():
    """Values 0, 1, 2: half at each end gives the mean 1, and so does everything in the middle."""
    weights = same_output_weights(torch.tensor([0.5, 0.0, 0.5]), torch.tensor([[0.0], [1.0], [2.0]]))
    assert weights.tolist() == pytest.approx([0, 1, 0], abs=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 999), st.integers(1, 5), st.integers(2, 9))
def test_other_weights_same_output(seed, d_v, spare):
    S = d_v + spare
    alpha, values = random(S, seed=seed).softmax(0), random(S, d_v, seed=seed + 1)
    other = same_output_weights(alpha, values)
    torch.testing.assert_close(other @ values, alpha @ values)
    assert other.sum().item() == pytest.approx(1)
    assert (other >= 0).all() and other.min() < 1e-9
    assert (other - alpha).abs().max() > alpha.min() / S


def test_values_that_depend_on_one_another_leave_more_room():
    values = torch.ones(3, 5)
    assert not torch.allclose(same_output_weights(torch.tensor([0.2, 0.3, 0.5]), values), torch.tensor([0.2, 0.3, 0.5]))


def test_few_keys_leave_no_choice():
    with pytest.raises(ValueError, match="S must exceed the rank of"):
        same_output_weights(random(4).softmax(0), random(4, 3))
