"""The laws of the four ways to tell attention the order."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.positions import (
    LearnedPositions,
    SinusoidalPositions,
    alibi_bias,
    alibi_slopes,
    learned_positions,
    rotate,
    sinusoidal_positions,
)

few = settings(max_examples=20, deadline=None, derandomize=True)


def test_sinusoidal_positions_by_hand():
    P = sinusoidal_positions(3, 4)
    expected = [[math.sin(t), math.cos(t), math.sin(t / 100), math.cos(t / 100)] for t in range(3)]
    torch.testing.assert_close(P, torch.tensor(expected))


def test_sinusoidal_positions_of_an_odd_width_end_with_a_sine():
    P = sinusoidal_positions(5, 7)
    assert P.shape == (5, 7)
    torch.testing.assert_close(P[:, 6], torch.sin(torch.arange(5) / 10000 ** (6 / 7)))


@few
@given(st.integers(0, 400), st.integers(0, 100))
def test_sinusoidal_products_depend_on_the_distance_only(t, distance):
    P = sinusoidal_positions(501, 22).double()
    assert abs(P[t] @ P[t + distance] - P[0] @ P[distance]) < 1e-5


def test_sinusoidal_positions_of_length_zero_and_one():
    assert sinusoidal_positions(0, 6).shape == (0, 6)
    assert sinusoidal_positions(1, 4).tolist() == [[0, 1, 0, 1]]


def test_the_module_adds_the_table_and_grows_it():
    module = SinusoidalPositions(6, max_length=5)
    x = torch.zeros(2, 13, 6)
    torch.testing.assert_close(module(x)[1], sinusoidal_positions(13, 6))
    torch.testing.assert_close(module(x[:, :3], start=4)[0], sinusoidal_positions(7, 6)[4:])
    assert not module.state_dict()
    assert not x.any()


def test_learned_positions_add_rows_of_the_table():
    x, table = torch.randn(2, 3, 5), torch.randn(7, 5)
    torch.testing.assert_close(learned_positions(x, table, start=4), x + table[4:7])
    module = LearnedPositions(7, 5)
    torch.testing.assert_close(module(x, start=1), x + module.table[1:4])


def test_learned_positions_say_where_they_end():
    with pytest.raises(ValueError, match="exist for 7 positions, but positions 6 to 8 were asked for"):
        learned_positions(torch.zeros(2, 3, 5), torch.zeros(7, 5), start=6)


def test_learned_positions_train_only_the_rows_in_use():
    module = LearnedPositions(7, 5)
    module(torch.zeros(2, 3, 5)).sum().backward()
    assert module.table.grad[:3].eq(2).all()
    assert module.table.grad[3:].eq(0).all()


def test_rotate_by_hand():
    quarter = math.pi / 2
    x = torch.tensor([[1.0, 0.0, 3.0, 4.0]])
    angle = quarter / 100  # the second pair of four columns turns a hundredth as fast
    turned = [0, 1, 3 * math.cos(angle) - 4 * math.sin(angle), 3 * math.sin(angle) + 4 * math.cos(angle)]
    torch.testing.assert_close(rotate(x, torch.tensor([quarter])), torch.tensor([turned]))


@few
@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_rotary_scores_depend_on_the_distance_only(t, s, shift):
    rng = torch.Generator().manual_seed(t + s)
    q, k = torch.randn(2, 1, 14, generator=rng, dtype=torch.float64)

    def score(t, s):
        return (rotate(q, torch.tensor([t])) @ rotate(k, torch.tensor([s])).T).item()

    assert abs(score(t, s) - score(t + shift, s + shift)) < 1e-4


def test_rotary_scores_do_depend_on_the_distance():
    q = torch.ones(1, 14)
    assert abs((q @ rotate(q, torch.tensor([3])).T).item() - (q @ q.T).item()) > 0.1


def test_rotate_keeps_lengths_and_leaves_position_zero():
    x = torch.randn(3, 2, 5, 14)
    turned = rotate(x, torch.arange(5))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[..., 0, :], x[..., 0, :])


def test_rotate_equals_multiplication_of_complex_numbers():
    x, positions = torch.randn(3, 2, 5, 14), torch.arange(4, 9)
    frequency = 10000.0 ** -(torch.arange(7) / 7)
    phase = torch.polar(torch.ones(5, 7), positions[:, None] * frequency)
    expected = torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (7, 2))) * phase).flatten(-2)
    torch.testing.assert_close(rotate(x, positions), expected)


def test_rotate_takes_positions_of_each_sequence():
    x = torch.randn(3, 2, 5, 14)
    start = torch.tensor([0, 4, 11])
    positions = start[:, None, None] + torch.arange(5)
    for b in range(3):
        torch.testing.assert_close(rotate(x, positions)[b], rotate(x[b], start[b] + torch.arange(5)))


def test_rotate_of_awkward_inputs():
    x = torch.randn(5, 14)
    before = x.clone()
    expected = rotate(x, torch.arange(5))
    assert torch.equal(x, before)
    assert torch.equal(rotate(x.t().contiguous().t(), torch.arange(5)), expected)
    assert rotate(x[:0], torch.arange(0)).shape == (0, 14)
    torch.testing.assert_close(rotate(x.bfloat16(), torch.arange(5)).float(), expected, atol=5e-2, rtol=2e-2)
    y = x.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda y: rotate(y, torch.arange(5)), y)


def test_rotate_wants_an_even_width():
    with pytest.raises(ValueError, match="must be even, got d_k = 7"):
        rotate(torch.zeros(5, 7), torch.arange(5))


def test_alibi_slopes_are_those_of_the_paper():
    torch.testing.assert_close(alibi_slopes(8), 2.0 ** -torch.arange(1.0, 9.0))
    torch.testing.assert_close(alibi_slopes(3), torch.tensor([2.0**-4, 2.0**-8, 2.0**-2]))


def test_alibi_bias_by_hand():
    bias = alibi_bias(2, 2, 3)
    expected = torch.tensor([[-1.0, 0, -1], [-2, -1, 0]])
    torch.testing.assert_close(bias[0], expected / 16)
    torch.testing.assert_close(bias[1], expected / 256)


def test_alibi_aligns_queries_at_the_end():
    assert torch.equal(alibi_bias(5, 1, 7)[:, 0], alibi_bias(5, 7, 7)[:, -1])
    assert alibi_bias(5, 0, 7).shape == (5, 0, 7)


def test_alibi_prefers_the_near():
    last = alibi_bias(3, 11, 11)[:, -1]
    assert (last.diff(dim=-1) > 0).all()
