"""Who edits what was passed in fails where that is the law, and nowhere else; no picture of theirs says otherwise."""

import numpy as np
import pytest
import torch

from autograder import catalogue, expect, panel
from autograder.edits import editable, kept
from autograder.exercise import Exercise
from autograder.judge import judge
from autograder.sandbox import Answers, Sandbox
from autograder.student import Here, Student

EXERCISES = [pytest.param(e, id=e.name) for e in catalogue.all_exercises()]
BECAUSE = "Your function edited `"


def spoil(value):
    """Overwrite everything that can be edited."""
    for part in editable(value):
        if isinstance(part, set | list):
            part.clear()
        elif torch.is_tensor(part):
            part = part.data[(0,) * part.ndim] if 0 in part.stride() else part.data  # expanded: one element for many
            part.copy_(~part if part.dtype == torch.bool else 7 - 3 * part.detach())
        elif part.flags.writeable:
            part[...] = ~part if part.dtype.kind == "b" else 7 - 3 * part


class Spoils(Here):
    """Answers rightly, and then overwrites every argument it was given."""

    def ask(self, operation, target, args, kwargs):
        answer = super().ask(operation, target, args, kwargs)
        if operation == "call":
            spoil((args, kwargs))
        return answer


@pytest.mark.parametrize("exercise", EXERCISES)
def test_an_answer_that_overwrites_its_inputs_fails_only_where_that_is_the_law(exercise: Exercise):
    verdict = judge(exercise, Spoils({exercise.name: exercise.reference}))
    fell = [law for law in verdict.laws if law.status != "pass"]
    for law in fell:
        assert law.what.startswith(BECAUSE), (
            f"{exercise.name}, {law.check.name}: the answers are right, but the arguments are overwritten after each "
            f"call, and then the check says: {law.what} {law.cause} Compute what you expect before the student's "
            f"call, and leave edits to `expect.unchanged(student)`."
        )
    taken = [call for calls in verdict.calls.values() for call in calls if editable((call.args, call.kwargs))]
    assert fell or not taken, (
        f"{exercise.name}: no check notices an answer that overwrites its inputs. Every argument is put back after the "
        f"call, so comparing it with a copy always succeeds; end one check with `expect.unchanged(student)` instead."
    )
    assert len(fell) <= 1, (
        f"{exercise.name}: {', '.join(law.check.name for law in fell)} all fall for one edit. One check is enough."
    )
    assert "Traceback" not in panel.text(verdict)


SOURCE = """
import numpy as np

def rows(x, *, others=()):
    x += 1
    for other in others: other *= 2
    return x
def cut(x): x.resize((2,), refcheck=False); return 0
def scaled(x): return x.mul_(3).view(-1)
def links(a, b, c):
    a.update(b); b.append((9, 9)); c["k"][0] = 5
    return sorted(a)
def quiet(x, links): return x + len(links)
def first(x):
    x[0] = 5
    return 0
"""


@pytest.fixture(params=["here", "sandbox"])
def student(request, where):
    if request.param == "here":
        names: dict = {}
        exec(SOURCE, names)
        yield Student(Here(names), ("x",))
        return
    with Sandbox([SOURCE], chapter=99, where=where) as sandbox:
        yield Student(Answers(sandbox, Exercise("rows", chapter=1, reference=lambda x: x)), ("x",))


def test_edits_are_put_back_and_told(student):
    x, others = np.zeros((3, 4))[:, ::2], [np.ones(2), np.ones(3, np.float32)]
    assert np.array_equal(student.rows(x, others=others), np.ones((3, 2)))
    assert not x.any()
    assert not x.flags.c_contiguous
    assert all(np.array_equal(other, np.ones_like(other)) for other in others)
    assert [name for name, _, _ in student.calls[-1].edits()] == ["x", "others[0]", "others[1]"]
    student.quiet(x, [])
    with pytest.raises(expect.CheckFailure, match=r"edited `x`.*at \[0, 0\] it was 0 and is 1 afterwards") as caught:
        expect.unchanged(student)
    assert caught.value.tried.startswith("rows(x, others=")


def test_edits_of_tensors_are_put_back(student):
    x = torch.arange(6.0).reshape(2, 3).mT
    assert torch.equal(student.scaled(x.contiguous()), torch.tensor([0.0, 9, 3, 12, 6, 15]))
    y = torch.ones(2, requires_grad=True).detach()
    student.scaled(y)
    assert y.tolist() == [1, 1]
    expanded = torch.ones(1).expand(3)
    student.first(expanded)
    assert expanded.tolist() == [1, 1, 1]
    with pytest.raises(expect.CheckFailure, match="edited `x`"):
        expect.unchanged(student)


def test_edits_of_containers_are_put_back_and_told(student):
    a, b, c = {(0, 1)}, [(2, 3)], {"k": np.zeros(2)}
    assert student.links(a, b, c) == [(0, 1), (2, 3)]
    assert (a, b) == ({(0, 1)}, [(2, 3)])
    assert not c["k"].any()
    assert [name for name, _, _ in student.calls[-1].edits()] == ["x", "x1", "x2['k']"]
    with pytest.raises(expect.CheckFailure, match=r"edited `x`, which was passed in\."):
        expect.unchanged(student)


def test_an_array_cut_in_place_is_put_back():
    names: dict = {}
    exec(SOURCE, names)
    x = np.arange(5.0)
    student = Student(Here(names), ("x",))
    student.cut(x)
    assert x.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(expect.CheckFailure, match="edited `x`"):
        expect.unchanged(student)


def test_who_edits_nothing_is_left_in_peace(student):
    student.quiet(np.array([np.nan, 1.0]), [(1, 2)])
    expect.unchanged(student)


def test_a_kept_set_does_not_follow():
    links = {(1, 2)}
    copy = kept(links)
    links.clear()
    assert copy == {(1, 2)}
