import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from attnlab.dot_product import (
    attention_vjp,
    attention_weights,
    dot_scores,
    scaled_dot_product_attention,
    score_variance,
)
from attnlab.masks import causal_mask, combine, padding_mask

both = pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
B, H, T, S, D_K, D_V = 2, 3, 5, 7, 11, 13


def draw(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((B, H, *shape)).astype(dtype) for shape in ((T, D_K), (S, D_K), (S, D_V))]


@both
def test_one_query_by_hand(kind):
    # d_k = 4: the scores 0 and 2 log 3 are halved, the weights 1/4 and 3/4.
    q = kind(np.array([[2.0, 0, 0, 0]]))
    k = kind(np.array([[0.0, 5, 5, 5], [np.log(3), 0, 0, 0]]))
    np.testing.assert_allclose(dot_scores(q, k), [[0, 2 * np.log(3)]], rtol=1e-12)
    np.testing.assert_allclose(attention_weights(q, k), [[0.25, 0.75]], rtol=1e-12)
    np.testing.assert_allclose(scaled_dot_product_attention(q, k, kind(np.array([[4.0], [8.0]]))), [[7.0]], rtol=1e-12)


@both
def test_scores_are_the_dot_products_of_all_pairs(kind):
    q, k, _ = draw()
    scores = dot_scores(kind(q), kind(k))
    for index in np.ndindex(B, H, T, S):
        *batch, t, s = index
        np.testing.assert_allclose(scores[index], sum(q[(*batch, t)] * k[(*batch, s)]), atol=1e-12)


@both
@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_what_torch_computes(kind, masked):
    q, k, v = draw()
    mask = combine(padding_mask(np.array([7, 4]), S), causal_mask(T, S)) if masked else None
    expected = functional.scaled_dot_product_attention(
        *map(torch.as_tensor, (q, k, v)), attn_mask=None if mask is None else torch.as_tensor(mask)
    )
    out = scaled_dot_product_attention(kind(q), kind(k), kind(v), None if mask is None else kind(mask))
    np.testing.assert_allclose(out, expected, atol=1e-12)


@both
def test_a_query_that_may_attend_to_nothing_gets_zeros(kind):
    q, k, v = draw()
    mask = np.ones((T, S), bool)
    mask[2] = False
    out = scaled_dot_product_attention(*map(kind, (q, k, v, mask)))
    assert (np.asarray(out)[:, :, 2] == 0).all()
    assert (np.asarray(out)[:, :, 3] != 0).all()


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(-100, 100))
def test_a_mask_is_never_looked_through(seed, garbage):
    q, k, v = draw(seed)
    mask = np.random.default_rng(seed).random(S) < 0.6
    out = scaled_dot_product_attention(q, k, v, mask)
    k[..., ~mask, :], v[..., ~mask, :] = garbage, garbage
    np.testing.assert_allclose(scaled_dot_product_attention(q, k, v, mask), out, atol=1e-10)


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_order_of_keys_does_not_matter_and_order_of_queries_is_kept(seed):
    q, k, v = draw(seed)
    rng = np.random.default_rng(seed)
    keys, queries = rng.permutation(S), rng.permutation(T)
    out = scaled_dot_product_attention(q, k, v)
    np.testing.assert_allclose(scaled_dot_product_attention(q, k[..., keys, :], v[..., keys, :]), out, atol=1e-12)
    np.testing.assert_allclose(scaled_dot_product_attention(q[..., queries, :], k, v), out[..., queries, :], atol=1e-12)


def test_the_causal_mask_stops_every_gradient_from_the_future():
    q, k, v = (torch.as_tensor(x)[..., :5, :].requires_grad_() for x in draw())
    out = scaled_dot_product_attention(q, k, v, causal_mask(5, like=q))
    for t in range(5):
        dk, dv = torch.autograd.grad(out[..., t, :].sum(), (k, v), retain_graph=True)
        assert (dk[..., t + 1 :, :] == 0).all() and (dv[..., t + 1 :, :] == 0).all()
        assert (dv[..., : t + 1, :] != 0).all()


@pytest.mark.parametrize("shape", [(D_K,), (1, D_K), (B, 1, D_K)])
def test_keys_shared_by_batches_or_heads_broadcast(shape):
    q, _, _ = draw()
    k = np.random.default_rng(1).standard_normal((*shape[:-1], S, D_K))
    full = np.broadcast_to(k, (B, H, S, D_K))
    np.testing.assert_allclose(
        scaled_dot_product_attention(q, k, k), scaled_dot_product_attention(q, full, full), atol=1e-12
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_half_precision_stays_near_and_far_from_overflow(dtype, tolerance):
    q, k, v = (torch.as_tensor(x, dtype=dtype) for x in draw())
    mask = causal_mask(T, S, like=q)
    expected = scaled_dot_product_attention(q.double(), k.double(), v.double(), mask)
    out = scaled_dot_product_attention(q, k, v, mask)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)
    # The score 4 · 150² exceeds what float16 holds; half of it, which is what a scaled q leaves, does not.
    big = torch.full((1, 4), 150.0, dtype=dtype)
    assert scaled_dot_product_attention(big, big, big).tolist() == big.tolist()


@both
def test_strided_float32_is_read_right_stays_float32_and_is_left_alone(kind):
    q, k, v = (np.asfortranarray(x).swapaxes(0, 1)[:, ::-1].copy(order="F") for x in draw(dtype=np.float32))
    before = [x.copy() for x in (q, k, v)]
    out = scaled_dot_product_attention(kind(q), kind(k), kind(v), kind(np.array([True] * 6 + [False])))
    again = scaled_dot_product_attention(*before, np.array([True] * 6 + [False]))
    assert str(out.dtype).endswith("float32")
    np.testing.assert_allclose(out, again, rtol=1e-5, atol=1e-6)
    for x, y in zip((q, k, v), before, strict=True):
        np.testing.assert_array_equal(x, y)


@both
def test_no_keys_one_key_no_batch(kind):
    q, k, v = draw()
    assert np.asarray(scaled_dot_product_attention(kind(q), kind(k[..., :0, :]), kind(v[..., :0, :]))).tolist() == (
        np.zeros((B, H, T, D_V)).tolist()
    )
    one = scaled_dot_product_attention(kind(q), kind(k[..., :1, :]), kind(v[..., :1, :]))
    np.testing.assert_allclose(one, np.broadcast_to(v[..., :1, :], one.shape), rtol=1e-12)
    assert tuple(scaled_dot_product_attention(kind(q[:0]), kind(k[:0]), kind(v[:0])).shape) == (0, H, T, D_V)


@both
@pytest.mark.parametrize("masked", [False, True])
def test_vjp_by_hand_is_what_autograd_finds(kind, masked):
    q, k, v = (torch.as_tensor(x).requires_grad_() for x in draw())
    g = np.random.default_rng(1).standard_normal((B, H, T, D_V))
    mask = np.random.default_rng(2).random((B, 1, T, S)) < 0.6 if masked else None
    if masked:
        mask[1, :, 3] = False
    out = scaled_dot_product_attention(q, k, v, None if mask is None else torch.as_tensor(mask))
    expected = torch.autograd.grad(out, (q, k, v), torch.as_tensor(g))
    by_hand = attention_vjp(*(kind(x) for x in draw()), kind(g), None if mask is None else kind(mask))
    for ours, theirs in zip(by_hand, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_gradcheck_with_a_fully_masked_row():
    q, k, v = (torch.as_tensor(x[0, 0]).requires_grad_() for x in draw())
    mask = torch.rand(T, S, generator=torch.manual_seed(0)) < 0.6
    mask[1] = False
    assert torch.autograd.gradcheck(scaled_dot_product_attention, (q, k, v, mask))


@pytest.mark.parametrize("d_k", [1, 4, 64])
def test_the_variance_of_a_score_is_d_k_and_after_scaling_one(d_k):
    raw, scaled = score_variance(d_k, np.random.default_rng(0), pairs=20_000)
    assert raw == pytest.approx(d_k, rel=0.1)
    assert scaled == pytest.approx(1, rel=0.1)
    assert (raw, scaled) == score_variance(d_k, np.random.default_rng(0), pairs=20_000)


@pytest.fixture
def annotations_off():
    """A student's laptop has no jaxtyping: there our own sentences speak."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("annotations_off")
def test_shapes_are_named_where_they_do_not_fit():
    q, k, v = draw()
    with pytest.raises(ValueError, match=r"last axes must agree; got q \(2, 3, 5, 11\) and k \(2, 3, 7, 13\)"):
        scaled_dot_product_attention(q, v, v)
    with pytest.raises(ValueError, match=r"same number of positions; got k \(2, 3, 7, 11\) and v \(2, 3, 5, 11\)"):
        scaled_dot_product_attention(q, k, q)


def test_annotations_are_enforced_in_this_run():
    q, _, v = draw()
    with pytest.raises(jaxtyping.TypeCheckError):
        scaled_dot_product_attention(q, v, v)
