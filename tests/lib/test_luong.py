import pytest
import torch

from attnlab.additive import additive_scores
from attnlab.luong import (
    ConcatScore,
    DotScore,
    GeneralScore,
    concat_score,
    dot_score,
    general_score,
    local_attention,
    luong_score,
    predicted_centre,
)

B, S, D_H, D_M, D_HIDDEN = 2, 5, 3, 7, 11


@pytest.fixture
def drawn():
    torch.manual_seed(0)
    return (
        torch.randn(B, D_H, dtype=torch.float64),
        torch.randn(B, S, D_M, dtype=torch.float64),
        torch.randn(D_H, D_M, dtype=torch.float64),
        torch.randn(D_H + D_M, D_HIDDEN, dtype=torch.float64),
        torch.randn(D_HIDDEN, dtype=torch.float64),
    )


def test_dot_by_hand():
    memory = torch.tensor([[1.0, 0.0], [3.0, -1.0]])
    assert dot_score(torch.tensor([2.0, 5.0]), memory).tolist() == [2.0, 1.0]


def test_general_is_the_bilinear_form(drawn):
    h, memory, W, *_ = drawn
    torch.testing.assert_close(general_score(h, memory, W), torch.einsum("bi,ij,bsj->bs", h, W, memory))


def test_general_with_the_identity_is_dot(drawn):
    memory = drawn[1]
    h = memory[:, 0]
    torch.testing.assert_close(general_score(h, memory, torch.eye(D_M, dtype=h.dtype)), dot_score(h, memory))


def test_concat_is_additive_attention_with_its_matrices_stacked(drawn):
    h, memory, _, W, v = drawn
    expected = additive_scores(h[:, None], memory, W[:D_H], W[D_H:], v)[:, 0]
    torch.testing.assert_close(concat_score(h, memory, W, v), expected)


def test_luong_score_chooses_by_name(drawn):
    h, memory, W, W_c, v = drawn
    torch.testing.assert_close(luong_score(memory[:, 0], memory, "dot"), dot_score(memory[:, 0], memory))
    torch.testing.assert_close(luong_score(h, memory, "general", W), general_score(h, memory, W))
    torch.testing.assert_close(luong_score(h, memory, "concat", W_c, v), concat_score(h, memory, W_c, v))


def test_luong_score_says_what_it_takes(drawn):
    h, memory, W, *_ = drawn
    with pytest.raises(ValueError, match=r"'general' with W, .* got 'general' with no parameters"):
        luong_score(h, memory, "general")
    with pytest.raises(ValueError, match="got 'dot' with W"):
        luong_score(h, memory, "dot", W)
    with pytest.raises(ValueError, match="got 'bilinear' with W"):
        luong_score(h, memory, "bilinear", W)


def test_modules_hold_what_the_functions_take(drawn):
    h, memory, *_ = (x.float() for x in drawn)
    general, concat = GeneralScore(D_H, D_M), ConcatScore(D_H, D_M, D_HIDDEN)
    torch.testing.assert_close(general(h, memory), general_score(h, memory, general.W))
    torch.testing.assert_close(concat(h, memory), concat_score(h, memory, concat.W, concat.v))
    torch.testing.assert_close(DotScore()(memory[:, 0], memory), dot_score(memory[:, 0], memory))
    assert [len(list(m.parameters())) for m in (DotScore(), general, concat)] == [0, 1, 2]


def test_predicted_centre_by_hand():
    h, W_p, v_p = torch.zeros(2, 3), torch.ones(3, 5), torch.ones(5)
    assert predicted_centre(h, torch.tensor([8, 5]), W_p, v_p).tolist() == [4.0, 2.5]


def test_predicted_centre_stays_inside_the_sentence(drawn):
    h = drawn[0] * 100
    p = predicted_centre(h, torch.tensor([5, 7]), drawn[3][:D_H], drawn[4])
    assert ((p >= 0) & (p <= torch.tensor([5, 7]))).all()


def test_local_attention_by_hand():
    # Equal scores: 1/3 each in the window of three; then the bell, exp(-1/2) one σ away.
    weights = local_attention(torch.zeros(5), torch.tensor(2.0), radius=1, sigma=1.0)
    bell = torch.exp(torch.tensor(-0.5)).item()
    assert weights.tolist() == pytest.approx([0, bell / 3, 1 / 3, bell / 3, 0])
    assert weights.sum() < 1


def test_local_attention_neither_sees_past_its_window_nor_through_padding():
    scores = torch.tensor([[9.0, 1.0, 2.0, 9.0, 9.0]] * 2)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    weights = local_attention(scores, torch.tensor([1.5, 1.5]), 0.5, 1e6, mask)
    assert weights[:, [0, 3, 4]].abs().sum() == 0
    assert weights[0, 1:3].tolist() == pytest.approx(torch.softmax(torch.tensor([1.0, 2.0]), 0).tolist())
    assert weights[1].tolist() == pytest.approx([0, 1, 0, 0, 0])


def test_a_window_without_keys_gives_zeros():
    assert local_attention(torch.ones(3), torch.tensor(9.0), 2, 1.0).tolist() == [0.0, 0.0, 0.0]


def test_the_centre_learns_through_the_bell():
    scores = torch.randn(2, 7, dtype=torch.float64, generator=torch.manual_seed(1), requires_grad=True)
    centre = torch.tensor([2.3, 4.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda e, p: local_attention(e, p, 2.0, 1.0), (scores, centre))
    assert torch.autograd.grad(local_attention(scores, centre, 2.0, 1.0)[:, 3].sum(), centre)[0].abs().min() > 0
