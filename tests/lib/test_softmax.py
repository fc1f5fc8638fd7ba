import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attnlab.softmax import fused_softmax, log_softmax, softmax, softmax_temperature, softmax_vjp

laws = settings(derandomize=True, max_examples=40, deadline=None)
matrices = arrays(np.float64, (5, 7), elements=st.floats(-50, 50))
both = pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])


@both
def test_two_entries_by_hand(kind):
    p = softmax(kind(np.array([0.0, 1.0])))
    np.testing.assert_allclose(p, [1 / (1 + np.e), np.e / (1 + np.e)], rtol=1e-15)


@both
def test_equal_entries_share_equally(kind):
    np.testing.assert_allclose(softmax(kind(np.full((2, 5), 3.0))), np.full((2, 5), 0.2), rtol=1e-15)


@laws
@given(matrices, st.floats(-1e6, 1e6))
def test_softmax_is_shift_invariant(x, shift):
    np.testing.assert_allclose(softmax(x + shift), softmax(x), atol=1e-9)


@laws
@given(matrices, st.sampled_from([0, 1, -1]))
def test_softmax_sums_to_one_along_its_axis_and_is_never_negative(x, axis):
    p = softmax(x, axis)
    np.testing.assert_allclose(p.sum(axis), 1, rtol=1e-12)
    assert (p >= 0).all()


@laws
@given(matrices)
def test_softmax_commutes_with_a_permutation(x):
    order = np.random.default_rng(0).permutation(7)
    np.testing.assert_allclose(softmax(x[:, order]), softmax(x)[:, order], rtol=1e-12)


@laws
@given(matrices, st.sampled_from([0, 1, -2]))
def test_all_forms_agree_with_torch(x, axis):
    expected = torch.softmax(torch.as_tensor(x), axis).numpy()
    np.testing.assert_allclose(softmax(x, axis), expected, rtol=1e-12)
    np.testing.assert_allclose(softmax(torch.as_tensor(x), axis), expected, rtol=1e-12)
    np.testing.assert_allclose(fused_softmax(x, axis), expected, rtol=1e-12)
    np.testing.assert_allclose(fused_softmax(torch.as_tensor(x), axis), expected, rtol=1e-12)
    np.testing.assert_allclose(log_softmax(x, axis), torch.log_softmax(torch.as_tensor(x), axis).numpy(), atol=1e-12)


@both
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_large_entries_do_not_overflow_and_the_dtype_stays(kind, dtype):
    x = kind(np.array([[3e4, 3e4, -3e4]], dtype))
    p = softmax(x)
    assert p.dtype == x.dtype
    assert p.tolist() == [[0.5, 0.5, 0.0]]


def test_bfloat16_stays_within_its_rounding():
    x = torch.randn(3, 11, generator=torch.manual_seed(0))
    p = softmax(x.bfloat16())
    assert p.dtype == torch.bfloat16
    torch.testing.assert_close(p.float(), torch.softmax(x.bfloat16().float(), -1), rtol=2e-2, atol=2e-3)


@both
def test_log_softmax_survives_where_the_weight_rounds_to_zero(kind):
    assert log_softmax(kind(np.array([2000.0, 0.0]))).tolist() == [0.0, -2000.0]


@both
def test_minus_infinity_gets_no_weight(kind):
    assert softmax(kind(np.array([-np.inf, 2.0]))).tolist() == [0.0, 1.0]


@both
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,)])
def test_empty_in_empty_out(kind, shape):
    for function in (softmax, fused_softmax):
        assert tuple(function(kind(np.zeros(shape))).shape) == shape
    assert tuple(log_softmax(kind(np.zeros((0, 3)))).shape) == (0, 3)


@both
def test_a_single_entry_takes_all(kind):
    assert softmax(kind(np.full((3, 1), -7.0))).tolist() == [[1.0]] * 3


@both
def test_strided_input_is_read_right_and_left_alone(kind):
    x = np.random.default_rng(1).standard_normal((7, 10))[:, ::2].T
    before = x.copy()
    np.testing.assert_allclose(softmax(kind(x), 0), softmax(before.copy(), 0), rtol=1e-12)
    np.testing.assert_array_equal(x, before)


@both
def test_temperature_by_hand(kind):
    p = softmax_temperature(kind(np.array([0.0, np.log(3)])), 0.5)
    np.testing.assert_allclose(p, [0.1, 0.9], rtol=1e-12)  # 3 squared is 9


@laws
@given(matrices, st.floats(0.1, 10))
def test_a_higher_temperature_never_raises_the_peak(x, tau):
    assert (softmax_temperature(x, 2 * tau).max(-1) <= softmax_temperature(x, tau).max(-1) + 1e-12).all()


@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan")])
def test_temperature_must_be_positive(tau):
    with pytest.raises(ValueError, match=r"expects tau > 0, got .*argmax"):
        softmax_temperature(np.zeros(3), tau)


@pytest.mark.parametrize("axis", [0, 1])
def test_vjp_is_the_gradient_that_autograd_finds(axis):
    rng = torch.manual_seed(2)
    x = torch.randn(5, 7, dtype=torch.float64, generator=rng, requires_grad=True)
    g = torch.randn(5, 7, dtype=torch.float64, generator=rng)
    (expected,) = torch.autograd.grad(torch.softmax(x, axis), x, g)
    p = softmax(x, axis).detach()
    torch.testing.assert_close(softmax_vjp(p, g, axis), expected)
    np.testing.assert_allclose(softmax_vjp(p.numpy(), g.numpy(), axis), expected.numpy(), rtol=1e-10, atol=1e-14)


@laws
@given(matrices, matrices)
def test_vjp_sums_to_zero_since_a_shift_changes_nothing(x, g):
    np.testing.assert_allclose(softmax_vjp(softmax(x), g).sum(-1), 0, atol=1e-10)


@pytest.mark.parametrize("function", [softmax, log_softmax, fused_softmax])
def test_gradcheck(function):
    x = torch.randn(3, 5, dtype=torch.float64, generator=torch.manual_seed(3), requires_grad=True)
    assert torch.autograd.gradcheck(function, (x,))
