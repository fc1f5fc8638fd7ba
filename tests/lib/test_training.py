"""Training counts tokens, never padding; a run that was cut off ends as one that was not."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attnlab import checkpoint
from attnlab.fitting import fit
from attnlab.progress import ProgressBar, watched
from attnlab.training import (
    Means,
    Score,
    best_device,
    device_line,
    evaluate,
    label_smoothed_loss,
    pad_batch,
    token_accuracy,
    token_budget_batches,
    token_score,
    train_epoch,
    warmup_rate,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


TARGETS = torch.tensor([[3, 1, 4, 0, 0], [2, 6, 5, 3, 0], [1, 0, 0, 0, 0]])


def test_smoothed_loss_by_hand():
    logits = torch.tensor([[0.0, math.log(2), math.log(5)]])  # p = 1/8, 2/8, 5/8; token 0 is padding
    q = [0.0, 0.2, 0.8]  # 0.6 on the target, 0.4 spread over the two real tokens
    expected = -(q[1] * math.log(2 / 8) + q[2] * math.log(5 / 8))
    assert label_smoothed_loss(logits, torch.tensor([2]), 0.4, pad=0).item() == pytest.approx(expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("pad", [0, 6])
def test_smoothed_loss_equals_torch_with_the_soft_targets_written_out(smoothing, pad):
    logits = draw(3, 5, 7).requires_grad_()
    real = pad != TARGETS
    q = torch.full((7,), smoothing / 6, dtype=torch.float64)
    q[pad] = 0
    q = nn.functional.one_hot(TARGETS[real], 7) * (1 - smoothing) + q
    theirs = nn.functional.cross_entropy(logits[real], q)
    ours = label_smoothed_loss(logits, TARGETS, smoothing, pad)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits), strict=True):
        torch.testing.assert_close(a, b)


def test_without_padding_and_smoothing_the_loss_is_cross_entropy():
    logits = draw(3, 5, 7)
    ours = label_smoothed_loss(logits, TARGETS, 0.3, pad=None)
    theirs = nn.functional.cross_entropy(logits.view(-1, 7), TARGETS.view(-1), label_smoothing=0.3)
    torch.testing.assert_close(ours, theirs)


def test_padding_never_matters_to_the_loss_nor_to_the_accuracy():
    logits = draw(3, 5, 7).requires_grad_()
    (grad,) = torch.autograd.grad(label_smoothed_loss(logits, TARGETS), logits)
    assert (grad[TARGETS == 0] == 0).all()
    other = torch.where((TARGETS == 0)[..., None], draw(3, 5, 7, seed=1), logits)
    torch.testing.assert_close(label_smoothed_loss(other, TARGETS), label_smoothed_loss(logits, TARGETS))
    assert token_accuracy(other, TARGETS) == token_accuracy(logits, TARGETS)


def test_a_batch_of_padding_has_loss_zero_and_no_accuracy():
    logits = draw(2, 3, 7).requires_grad_()
    nothing = torch.zeros(2, 3, dtype=torch.long)
    loss = label_smoothed_loss(logits, nothing)
    assert loss == 0
    loss.backward()
    assert (logits.grad == 0).all()
    assert math.isnan(token_accuracy(logits, nothing))


def test_the_loss_names_wrong_arguments():
    with pytest.raises(ValueError, match=r"smoothing < 1, got 1\.0"):
        label_smoothed_loss(draw(3, 5, 7), TARGETS, 1.0)


def test_accuracy_counts_real_tokens_only():
    logits = nn.functional.one_hot(torch.tensor([[3, 2, 4, 0, 0], [2, 6, 0, 3, 0], [1, 0, 0, 0, 0]]), 7).double()
    assert token_accuracy(logits, TARGETS) == pytest.approx(6 / 8)


def test_warmup_rate_by_hand_peaks_at_warmup_and_is_zero_at_step_zero():
    assert warmup_rate(0, 64, 100) == 0
    assert warmup_rate(50, 64, 100) == pytest.approx(50 / (8 * 1000))
    assert warmup_rate(100, 64, 100) == pytest.approx(1 / (8 * 10))
    assert warmup_rate(400, 64, 100) == pytest.approx(1 / (8 * 20))
    rates = [warmup_rate(step, 64, 100) for step in range(300)]
    assert rates.index(max(rates)) == 100
    with pytest.raises(ValueError, match="step = -1"):
        warmup_rate(-1, 64)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(1, 29), max_size=40), budget=st.integers(29, 97), seed=st.integers(0, 99))
def test_token_budget_batches_hold_each_index_once_within_the_budget(lengths, budget, seed):
    batches = token_budget_batches(lengths, budget, torch.Generator().manual_seed(seed))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(batch for batch in batches)
    assert all(len(batch) * max(lengths[i] for i in batch) <= budget for batch in batches)


def test_token_budget_batches_pad_little_and_differ_by_seed():
    lengths = [1 + (7 * i) % 31 for i in range(310)]
    batches = token_budget_batches(lengths, 128, torch.Generator().manual_seed(0))
    padded = sum(len(b) * max(lengths[i] for i in b) for b in batches)
    assert padded < 1.1 * sum(lengths)
    assert batches != token_budget_batches(lengths, 128, torch.Generator().manual_seed(1))
    with pytest.raises(ValueError, match="31 tokens, more than the budget of 30"):
        token_budget_batches(lengths, 30)


def test_pad_batch_fills_up_to_the_longest():
    assert pad_batch([[5, 2], [], [7, 7, 7]], pad=9).tolist() == [[5, 2, 9], [9, 9, 9], [7, 7, 7]]
    assert pad_batch([]).shape == (0, 0)


def constant_score(model, batch):
    loss, correct, tokens = batch
    weight = next(model.parameters())
    return Score(loss + 0 * weight.sum(), correct, tokens)


def test_means_are_over_tokens_not_over_batches():
    model = nn.Linear(1, 1)
    batches = [(1.0, 10, 10), (4.0, 0, 2)]
    expected = Means(pytest.approx(18 / 12), pytest.approx(10 / 12), 12)
    assert evaluate(model, batches, constant_score) == expected
    assert train_epoch(model, batches, constant_score, torch.optim.SGD(model.parameters(), 0.1)) == expected
    assert evaluate(model, [], constant_score).tokens == 0


def test_evaluate_turns_dropout_off_and_puts_every_module_back():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Dropout(0.5)).train()
    model[2].eval()
    seen = []

    def score(model, batch):
        seen.append((model.training, model[1].training, torch.is_grad_enabled()))
        return Score(torch.tensor(0.0), 0, 1)

    evaluate(model, [None], score)
    assert seen == [(False, False, False)]
    assert [m.training for m in model.modules()] == [True, True, True, False]

    def broken(model, batch):
        raise RuntimeError("score fails")

    with pytest.raises(RuntimeError, match="score fails"):
        evaluate(model, [None], broken)
    assert [m.training for m in model.modules()] == [True, True, True, False]


def test_stale_gradients_are_cleared_before_the_first_step():
    def weights_after(stale):
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        if stale:
            model.weight.grad = torch.full_like(model.weight, 100.0)
        train_epoch(
            model, [0], lambda m, b: Score(m(torch.ones(1, 3)).sum(), 0, 1), torch.optim.SGD(model.parameters(), 1.0)
        )
        return model.weight

    assert (weights_after(True) == weights_after(False)).all()


# --- fit -----------------------------------------------------------------------------------------------------------


class CutError(Exception):
    """The power fails."""


def make_run(path, cut_at=None, log=None):
    """A small model with dropout, Adam, a schedule, batches drawn from the global generators; fit it."""
    torch.manual_seed(0)
    np.random.seed(0)
    model = nn.Sequential(nn.Embedding(7, 5), nn.Dropout(0.3), nn.Linear(5, 7))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_rate(step + 1, 5, 7))
    done = 0

    def batches(epoch):
        return [torch.randint(1, 7, (3, int(np.random.randint(2, 6)))) for _ in range(5)]

    def score(model, batch):
        nonlocal done
        if model.training:
            if done == cut_at:
                raise CutError
            done += 1
        if log is not None and model.training:
            log.append(batch.tolist())
        return token_score(model(batch), batch, 0.1)

    valid = [torch.tensor([[1, 2, 3]])]
    history = fit(
        model, batches, score, optimizer, 3, scheduler=scheduler, valid=valid,
        checkpoint_path=path, checkpoint_every=2, progress=False,
    )  # fmt: skip
    return model, history


@pytest.mark.parametrize("cut_at", [0, 3, 5, 9, 14])
def test_a_run_that_was_cut_off_ends_with_the_same_weights_bit_for_bit(tmp_path, cut_at):
    whole, history = make_run(tmp_path / "whole.pt")
    with pytest.raises(CutError):
        make_run(tmp_path / "cut.pt", cut_at)
    torch.rand(17)  # the world goes on in between
    np.random.rand(3)
    resumed, resumed_history = make_run(tmp_path / "cut.pt")
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(history, resumed_history, strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"} == {k: v for k, v in b.items() if k != "seconds"}


def test_a_resumed_run_sees_the_rest_of_the_data_and_nothing_twice(tmp_path):
    whole, before, after = [], [], []
    make_run(None, log=whole)
    with pytest.raises(CutError):
        make_run(tmp_path / "cut.pt", 8, log=before)
    make_run(tmp_path / "cut.pt", log=after)
    assert whole == before[:7] + after  # the checkpoint was written after batch 2 of epoch 2
    assert make_run(tmp_path / "cut.pt", log=(again := []))[1] and again == []  # a finished run stays finished


def test_fit_learns_and_reports(tmp_path):
    _, history = make_run(tmp_path / "x.pt")
    assert [set(h) for h in history] == [{"loss", "accuracy", "tokens", "seconds", "valid_loss", "valid_accuracy"}] * 3
    assert history[-1]["loss"] < history[0]["loss"]


def test_a_checkpoint_that_fails_to_be_written_leaves_the_old_one_whole(tmp_path):
    path = tmp_path / "x.pt"
    checkpoint.save_atomically({"a": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        checkpoint.save_atomically({"a": (_ for _ in ())}, path)
    assert checkpoint.load(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]


def test_a_checkpoint_runs_no_code(tmp_path):
    torch.save({"path": Path("x")}, tmp_path / "x.pt")
    with pytest.raises(Exception, match="Weights only load failed"):
        checkpoint.load(tmp_path / "x.pt")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_writes_over_itself_in_a_terminal_and_one_line_into_a_log(monkeypatch):
    monkeypatch.delitem(__import__("sys").modules, "ipykernel", raising=False)
    for stream, lines in ((Terminal(), 2), (io.StringIO(), 1)):
        bar = ProgressBar("epoch 1/2", 3, stream=stream)
        bar.drawn = -1.0  # the last drawing was long ago
        bar.advance(100, 2.5)
        bar.close({"loss": 1.5, "accuracy": 0.5, "seconds": 2.0})
        text = stream.getvalue()
        assert text.endswith("\n")
        assert text.count("epoch 1/2") == lines
        assert "tokens/s" in text
        assert "loss 1.500" in text
        assert text.startswith("\r") == (lines == 2)


def test_the_device_line_names_the_device():
    assert device_line(torch.device("cpu")).startswith("device: CPU, ")
    assert best_device().type in ("cpu", "cuda", "mps")


def test_a_watched_score_draws_the_bar_and_changes_no_number(monkeypatch, capsys):
    monkeypatch.delitem(__import__("sys").modules, "ipykernel", raising=False)
    given = {"a": (torch.tensor(1.0), 1, 2), "b": (torch.tensor(4.0), 2, 4)}
    batches, score = watched(["a", "b"], lambda model, batch: given[batch], "epoch 1/1")
    assert [score(None, batch) for batch in batches] == list(given.values())
    assert " tokens/s · loss 3.000 · accuracy 0.500" in capsys.readouterr().out
