import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.kernels import attention_pool, gaussian_weights, leave_one_out_loss

both = pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
rng = np.random.default_rng(0)
QUERIES, KEYS = rng.standard_normal(5), rng.standard_normal(7)


@both
def test_two_keys_by_hand(kind):
    weights = gaussian_weights(kind(np.array([0.0])), kind(np.array([0.0, 3.0])), 1.5)
    far = np.exp(-2)  # 3 is two widths away: exp(-2²/2)
    np.testing.assert_allclose(weights, [[1 / (1 + far), far / (1 + far)]], rtol=1e-12)


@both
def test_weights_are_normal_densities_made_to_sum_to_one(kind):
    densities = torch.distributions.Normal(torch.as_tensor(QUERIES)[:, None], 0.7).log_prob(torch.as_tensor(KEYS)).exp()
    expected = densities / densities.sum(-1, keepdim=True)
    np.testing.assert_allclose(gaussian_weights(kind(QUERIES), kind(KEYS), 0.7), expected, rtol=1e-10)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.floats(-1e4, 1e4), st.floats(0.01, 100))
def test_only_distances_matter_and_rows_sum_to_one(shift, width):
    weights = gaussian_weights(QUERIES, KEYS, width)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-12)
    np.testing.assert_allclose(gaussian_weights(QUERIES + shift, KEYS + shift, width), weights, atol=1e-4)


def test_a_query_far_from_every_key_follows_the_nearest():
    assert gaussian_weights(np.array([1e4]), np.array([0.0, 1.0, -1.0]), 0.1).tolist() == [[0.0, 1.0, 0.0]]


def test_a_wide_bell_gives_the_mean():
    np.testing.assert_allclose(attention_pool(gaussian_weights(QUERIES, KEYS, 1e6), KEYS), KEYS.mean(), rtol=1e-9)


@both
@pytest.mark.parametrize("shape", [(7,), (7, 3)])
def test_pool_averages_over_keys(kind, shape):
    weights, values = gaussian_weights(QUERIES, KEYS, 0.5), rng.standard_normal(shape)
    expected = np.stack([sum(weights[t, s] * values[s] for s in range(7)) for t in range(5)])
    np.testing.assert_allclose(attention_pool(kind(weights), kind(values)), expected, rtol=1e-10)


@both
def test_leave_one_out_by_hand(kind):
    # Two points predict each other, whatever the width.
    x, y = kind(np.array([0.0, 1.0])), kind(np.array([2.0, 5.0]))
    assert float(leave_one_out_loss(x, y, 0.3)) == pytest.approx(9.0)


@both
def test_leave_one_out_leaves_the_point_itself_out(kind):
    y = np.sin(KEYS)
    loss = 0.0
    for i in range(7):
        rest = np.arange(7) != i
        loss += (y[i] - attention_pool(gaussian_weights(KEYS[i : i + 1], KEYS[rest], 0.4), y[rest])[0]) ** 2 / 7
    assert float(leave_one_out_loss(kind(KEYS), kind(y), 0.4)) == pytest.approx(loss, rel=1e-9)
    # Through its own value each point would be predicted better and better as the bell narrows.
    assert float(leave_one_out_loss(kind(KEYS), kind(y), 1e-3)) > 1e-3


def test_whole_numbers_are_places_and_values_too():
    x, y = np.array([3, 0, 1, 8]), np.array([2, 5, -1, 4])
    weights = gaussian_weights(x[:2], x, 2)
    np.testing.assert_allclose(weights, gaussian_weights(x[:2] * 1.0, x * 1.0, 2.0), rtol=1e-12)
    np.testing.assert_allclose(attention_pool(weights, y), attention_pool(weights, y * 1.0), rtol=1e-12)
    assert float(leave_one_out_loss(x, y, 2)) == pytest.approx(float(leave_one_out_loss(x * 1.0, y * 1.0, 2.0)))


def test_gradients_reach_the_width():
    x, width = torch.as_tensor(KEYS), torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: leave_one_out_loss(x, x**2, w), (width,))


@pytest.mark.parametrize("width", [0.0, -1.0])
def test_width_must_be_positive(width):
    with pytest.raises(ValueError, match="expected width > 0, the standard deviation"):
        gaussian_weights(QUERIES, KEYS, width)


@pytest.fixture
def annotations_off():
    """A student's laptop has no jaxtyping: there our own sentences speak."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("annotations_off")
def test_shapes_are_named_where_they_do_not_fit():
    with pytest.raises(ValueError, match=r"weights \(7, 5\) for values \(7,\): are the weights transposed"):
        attention_pool(gaussian_weights(QUERIES, KEYS, 1.0).T, KEYS)
    with pytest.raises(ValueError, match="at least two points, got 1"):
        leave_one_out_loss(np.zeros(1), np.zeros(1), 1.0)
