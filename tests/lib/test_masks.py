import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attnlab.masks import causal_mask, combine, local_mask, masked_softmax, padding_mask, window_mask

laws = settings(derandomize=True, max_examples=40, deadline=None)
both = pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
scores_and_masks = st.tuples(
    arrays(np.float64, (2, 3, 5, 7), elements=st.floats(-30, 30)), arrays(np.bool_, (2, 1, 5, 7))
)


@both
def test_padding_mask_by_hand(kind):
    mask = padding_mask(kind(np.array([2, 0, 3])), 3)
    assert tuple(mask.shape) == (3, 1, 1, 3)
    assert mask[:, 0, 0].tolist() == [[True, True, False], [False, False, False], [True, True, True]]


@pytest.mark.parametrize(("lengths", "got"), [([1, 6], "1 to 6"), ([-1, 2], "-1 to 2")])
def test_padding_mask_refuses_lengths_outside_the_batch(lengths, got):
    with pytest.raises(ValueError, match=f"lengths from 0 to S = 5, got {got}"):
        padding_mask(np.array(lengths), 5)


def test_padding_mask_wants_one_length_a_sequence():
    with pytest.raises(ValueError, match=r"shape \(B,\), got shape \(1, 2\)"):
        padding_mask(np.array([[1, 2]]), 5)


def test_padding_mask_of_no_sequences_is_empty():
    assert padding_mask(torch.zeros(0, dtype=torch.long), 3).shape == (0, 1, 1, 3)


def test_causal_mask_by_hand():
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def test_causal_mask_is_aligned_at_the_end():
    assert causal_mask(2, 4).tolist() == [[True, True, True, False], [True, True, True, True]]
    assert causal_mask(3, 1).tolist() == [[False], [False], [True]]


@laws
@given(st.integers(1, 7), st.integers(0, 7))
def test_causal_rows_of_a_cached_step_are_the_last_rows_of_the_full_mask(T, cached):
    np.testing.assert_array_equal(causal_mask(T, T + cached), causal_mask(T + cached)[cached:])


def test_local_mask_by_hand():
    assert local_mask(3, 3, 1).tolist() == [[True, True, False], [True, True, True], [False, True, True]]
    assert local_mask(2, 4, 1).tolist() == [[False, True, True, True], [False, False, True, True]]


@laws
@given(st.integers(1, 11), st.integers(0, 11))
def test_a_local_row_away_from_the_edges_sees_twice_the_radius_and_itself(T, radius):
    mask = local_mask(T, T, radius)
    expected = [sum(0 <= t + d < T for d in range(-radius, radius + 1)) for t in range(T)]
    assert mask.sum(-1).tolist() == expected


def test_local_mask_refuses_a_negative_radius():
    with pytest.raises(ValueError, match="radius of 0 or more, got -1"):
        local_mask(3, 3, -1)


def test_window_mask_by_hand():
    mask = window_mask(torch.tensor([0.0, 2.5]), 5, 1)
    assert mask.tolist() == [[True, True, False, False, False], [False, False, True, True, False]]


def test_like_gives_library_and_device():
    assert isinstance(causal_mask(3), np.ndarray)
    like = torch.empty(1, device="meta")
    for mask in (causal_mask(3, like=like), local_mask(3, 5, 1, like=like)):
        assert isinstance(mask, torch.Tensor)
        assert mask.device.type == "meta"


@both
def test_combine_is_logical_and(kind):
    a, b = kind(np.array([True, True, False])), kind(np.array([[True], [False]]))
    assert combine(a, None, b).tolist() == [[True, True, False], [False, False, False]]
    assert combine(None, a) is a
    assert combine() is None and combine(None, None) is None


def test_padding_and_causal_combine_to_one_mask_for_every_head():
    mask = combine(padding_mask(np.array([3, 1]), 3), causal_mask(3))
    assert mask.shape == (2, 1, 3, 3)
    assert mask[1, 0].tolist() == [[True, False, False]] * 3


@both
def test_masked_softmax_by_hand(kind):
    weights = masked_softmax(kind(np.log([1.0, 2.0, 3.0])), kind(np.array([True, False, True])))
    np.testing.assert_allclose(weights, [0.25, 0, 0.75], rtol=1e-12)


@both
def test_masked_softmax_is_softmax_over_what_is_left(kind):
    @laws
    @given(scores_and_masks)
    def law(drawn):
        scores, mask = drawn
        weights = np.asarray(masked_softmax(kind(scores), kind(mask)))
        full = np.broadcast_to(mask, scores.shape)
        for index in np.ndindex(2, 3, 5):
            row = scores[index][full[index]]
            expected = torch.softmax(torch.as_tensor(row), -1).numpy() if row.size else row
            np.testing.assert_allclose(weights[index][full[index]], expected, rtol=1e-9)
        assert (weights[~full] == 0).all()

    law()


@laws
@given(scores_and_masks, st.floats(-1e30, 1e30))
def test_a_mask_is_never_looked_through(drawn, garbage):
    scores, mask = drawn
    changed = np.where(np.broadcast_to(mask, scores.shape), scores, garbage)
    np.testing.assert_array_equal(masked_softmax(scores, mask), masked_softmax(changed, mask))


@both
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_fully_masked_row_gives_zeros_in_every_precision(kind, dtype):
    scores = kind(np.array([[-3e4, 3e4], [-3e4, 3e4]], dtype))
    weights = masked_softmax(scores, kind(np.array([[False, False], [True, False]])))
    assert weights.dtype == scores.dtype
    assert weights.tolist() == [[0.0, 0.0], [1.0, 0.0]]


def test_bfloat16_keeps_its_dtype():
    weights = masked_softmax(torch.zeros(2, 4, dtype=torch.bfloat16), torch.tensor([True, True, False, True]))
    assert weights.dtype == torch.bfloat16
    assert weights[0].tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3], rel=4e-3)


def test_gradients_of_fully_masked_rows_are_zero_not_nan():
    scores = torch.randn(3, 5, generator=torch.manual_seed(0), requires_grad=True)
    mask = torch.tensor([[True], [False], [True]]).expand(3, 5)
    (masked_softmax(scores, mask) ** 2).sum().backward()
    assert scores.grad[1].tolist() == [0.0] * 5
    assert scores.grad[0].abs().sum() > 0


def test_gradcheck_with_a_mask():
    scores = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.manual_seed(1), requires_grad=True)
    mask = torch.tensor([[True, False, True, True, False], [False] * 5, [True] * 5])
    assert torch.autograd.gradcheck(lambda x: masked_softmax(x, mask), (scores,))


@both
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_masked_softmax_along_any_axis(kind, axis):
    rng = np.random.default_rng(2)
    scores, mask = rng.standard_normal((3, 5, 7)), rng.random((5, 7)) < 0.6
    moved = np.moveaxis(scores, axis, -1), np.moveaxis(np.broadcast_to(mask, scores.shape), axis, -1)
    expected = np.moveaxis(masked_softmax(*moved), -1, axis)
    np.testing.assert_allclose(masked_softmax(kind(scores), kind(mask), axis), expected, atol=1e-12)


@both
def test_no_mask_is_plain_softmax_and_no_key_is_empty(kind):
    np.testing.assert_allclose(masked_softmax(kind(np.zeros((2, 4))), None), 0.25)
    assert tuple(masked_softmax(kind(np.zeros((3, 0))), kind(np.zeros((3, 0), bool))).shape) == (3, 0)


@both
def test_nothing_passed_in_is_edited(kind):
    scores, mask = np.random.default_rng(3).standard_normal((3, 5)), np.array([[True], [False], [True]])
    before = scores.copy(), mask.copy()
    masked_softmax(kind(scores), kind(mask))
    combine(kind(mask), kind(mask[:1]))
    np.testing.assert_array_equal(scores, before[0])
    np.testing.assert_array_equal(mask, before[1])


@pytest.mark.parametrize("mask", [np.array([1, 0]), np.array([0.0, -np.inf]), torch.tensor([0.0, 1.0])])
def test_a_mask_that_is_not_boolean_is_refused(mask):
    with pytest.raises(TypeError, match=r"a mask is boolean, True = may attend; got dtype .* of shape \(2,\)"):
        combine(mask)
    with pytest.raises(TypeError, match="a mask is boolean"):
        masked_softmax(torch.zeros(2) if isinstance(mask, torch.Tensor) else np.zeros(2), mask)


@pytest.mark.parametrize("shape", [(5,), (2, 7, 5), (1, 2, 3, 7), (3, 1)])
def test_a_mask_that_does_not_fit_is_refused_with_both_shapes(shape):
    with pytest.raises(ValueError, match=r"broadcasts to the scores, \(2, 5, 7\), got \("):
        masked_softmax(np.zeros((2, 5, 7)), np.ones(shape, bool))
