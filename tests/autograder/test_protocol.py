"""A check sees the same whether the answer runs in this process or in a sandbox: calls, objects, gradients."""

import contextlib

import numpy as np
import pytest
import torch

from autograder import expect, library, limits, wire
from autograder.exercise import Exercise
from autograder.sandbox import Answers, Sandbox
from autograder.student import Handle, Here, Student, StudentError

SOURCE = """
import numpy as np
import torch
from torch import nn

class Linear(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.n_out = n_out
        self.W = nn.Parameter(torch.randn(n_in, n_out))
        self.register_buffer("seen", torch.zeros(1))
        self.drop = nn.Dropout(0.5)
    def forward(self, x):
        return self.drop(x @ self.W)
    def both(self, x, scale=1):
        return {"out": x @ self.W * scale, "shape": tuple(x.shape)}

def twice(x): return 2 * x
def cube(x): return x ** 3
def residual(x, sublayer): return x + sublayer(x)
def count(step, n): return [step(i) for i in range(n)]
def forever(step):
    while True: step(0)
def bad_call(step): return step("not", a=3)
def draws(rng): return rng.normal(size=3)
def noise(n): return torch.randn(n).numpy() + np.random.rand(n)
def table(n): return np.zeros((n, n)).sum() + float(torch.zeros(n, n).sum())
def typed(x, dtype): return x.to(dtype)
def trains(model, batch, score, optimizer):
    optimizer.zero_grad()
    result = score(model, batch)
    result.loss.backward()
    optimizer.step()
    return result.tokens
def maker(): return Linear(2, 3), lambda x: x + 1
def uses(m, x): return m(x)
def through_norm(x, norm): return norm(x)
def detached(x): return x.detach()
def pairs(): return {(1, 2), (3, 4)}
def rotated(x): return np.exp(1j * x)
class Odd:
    def __array__(self): return np.zeros(3)
    def __eq__(self, other): return True
def odd(): return Odd()
def half(x): return x.half()
"""


def exercise() -> Exercise:
    return Exercise("twice", chapter=1, reference=lambda x: 2 * x)


@pytest.fixture(scope="module")
def sandbox(where):
    with Sandbox([SOURCE], chapter=99, where=where) as sandbox:
        yield sandbox


@pytest.fixture(params=["here", "sandbox"])
def student(request):
    if request.param == "sandbox":
        return Student(Answers(request.getfixturevalue("sandbox"), exercise()))
    names: dict = {}
    exec(SOURCE, names)
    return Student(Here(names))


def test_arrays_tensors_and_numbers_keep_their_kind(student):
    for value in (np.arange(3), np.ones((2, 3), np.float32), torch.ones(2, 3), torch.ones(3).bfloat16(), 3, 2.5, 1 + 0):
        came = student.twice(value)
        assert type(came) is type(value)
        assert expect.same(came, 2 * value)
    assert student.half(torch.ones(3)).dtype == torch.float16
    assert student.pairs() == {(1, 2), (3, 4)}
    assert np.iscomplexobj(student.rotated(np.ones(2)))


def test_a_module_is_made_loaded_called_and_read(student):
    module = student.Linear(2, 3)
    assert isinstance(module, Handle)
    assert expect.named(module) == "a Linear"
    assert set(module.parameters()) == {"W"}  # a buffer is not learned
    W = torch.arange(6.0).reshape(2, 3)
    module.load({"W": W.numpy(), "seen": torch.ones(1)})
    assert torch.equal(module.parameters()["W"], W)
    module.eval()
    x = torch.ones(5, 2)
    assert torch.equal(module(x), x @ W)
    assert torch.equal(module.both(x, scale=2)["out"], 2 * x @ W)
    assert module.both(x)["shape"] == (5, 2)
    assert module.attribute("n_out") == 3
    assert module.train().attribute("training") is True
    state = module.state_dict()
    other = student.Linear(2, 3)
    other.load_state_dict(state)
    other.eval()
    assert torch.equal(other(x), x @ W)


def test_loading_what_does_not_fit_is_told(student):
    module = student.Linear(2, 3)
    with pytest.raises(StudentError, match="has no parameter `V`; it has `W`, `seen`"):
        module.load({"V": np.ones(2)})
    with pytest.raises(StudentError, match=r"`W` of your `Linear` has shape \(2, 3\); expected is \(3, 2\)"):
        module.load({"W": np.ones((3, 2))})
    with pytest.raises(StudentError, match="has no `sideways`"):
        module.sideways(3)
    with pytest.raises(StudentError, match="has no attribute `depth`"):
        module.attribute("depth")


def test_gradients_of_a_function(student):
    x, g = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 0.0, 2.0])
    came = student.cube.gradients(x, cotangent=g)
    assert torch.allclose(came.inputs[0], g * 3 * x**2)
    assert torch.allclose(came.value, x**3)
    assert not x.requires_grad
    with pytest.raises(StudentError, match="No gradient flows through your `detached`"):
        student.detached.gradients(x, cotangent=g)
    with pytest.raises(StudentError, match="a single number was expected"):
        student.cube.gradients(x)


def test_gradients_of_a_module(student):
    module = student.Linear(2, 3)
    module.eval()
    x, g = torch.ones(5, 2), torch.ones(5, 3)
    came = module.gradients(x, cotangent=g)
    assert torch.allclose(came.parameters["W"], x.T @ g)
    assert came.parameters["W"].shape == (2, 3)
    assert came.inputs[0].shape == (5, 2)


def test_functions_of_the_check_can_be_called(student):
    seen = []

    def step(i):
        seen.append(i)
        return i * np.ones(2)

    assert expect.same(student.count(step, 3), [np.zeros(2), np.ones(2), 2 * np.ones(2)])
    assert seen == [0, 1, 2]
    x = torch.ones(3)
    assert torch.equal(student.residual(x, lambda h: 5 * h), 6 * x)


def test_a_wrong_call_of_the_checks_function_is_the_students_error(student):
    with pytest.raises(StudentError, match="TypeError"):
        student.bad_call(lambda i: i)


class Refused(Exception):
    """A type that only the check knows."""


@pytest.mark.parametrize("kind", [Refused, ValueError, ZeroDivisionError])
def test_what_the_checks_function_raises_is_the_same_near_and_far(student, kind):
    def step(i):
        raise kind("no more of this")

    with pytest.raises(StudentError) as refused:
        student.count(step, 3)
    assert (refused.value.kind, refused.value.raised) == ("raised", kind.__name__)
    assert str(refused.value).startswith(f"Your `count` raised {kind.__name__}: no more of this")


def test_an_exception_that_wants_more_than_words_keeps_its_name(student):
    with pytest.raises(StudentError) as refused:
        student.count(lambda i: b"\xff".decode(), 3)
    assert refused.value.raised == "UnicodeDecodeError"


def test_modules_of_torch_can_be_passed_and_differentiated(student):
    norm = torch.nn.LayerNorm(4)
    torch.nn.init.constant_(norm.weight, 3.0)
    x = torch.arange(4.0)
    came = student.through_norm.gradients(x, norm, cotangent=torch.ones(4))
    assert torch.allclose(came.value, norm(x).detach())
    linear = torch.nn.Linear(4, 2, bias=False)
    assert torch.allclose(student.through_norm(x, linear), linear(x).detach())


def test_objects_travel_by_reference(student):
    module, function = student.maker()
    assert function(3) == 4
    module.eval()
    assert student.uses(module, torch.ones(1, 2)).shape == (1, 3)


def test_random_generators_are_copies(student):
    rng = np.random.default_rng(5)
    first = student.draws(rng)
    assert np.array_equal(first, student.draws(rng))
    assert np.array_equal(first, rng.normal(size=3))


def test_an_answer_at_random_is_the_same_every_time(student):
    again = Student(
        type(student.backend)(
            *(
                [student.backend.sandbox, exercise()]
                if hasattr(student.backend, "sandbox")
                else [student.backend.namespace]
            )
        )
    )
    before = torch.get_rng_state()
    assert np.array_equal(student.noise(4), again.noise(4))
    assert torch.equal(before, torch.get_rng_state())


def test_memory_is_measured(student):
    small, large = student.table.peak_bytes(100), student.table.peak_bytes(1000)
    assert 12e4 < small < 4e5
    assert 12e6 < large < 4e7


def test_types_cross(student):
    assert student.typed(torch.ones(2), torch.float64).dtype == torch.float64


def test_an_object_that_claims_to_be_an_array_is_no_array(student):
    with pytest.raises(expect.CheckFailure, match="returned an Odd; an array"):
        expect.close(student.odd(), np.zeros(3))


def test_a_function_passed_in_cannot_be_called_for_ever(where):
    with Sandbox([SOURCE], chapter=99, where=where) as sandbox:
        student = Student(Answers(sandbox, exercise(), seconds=1.0))
        with pytest.raises(StudentError, match=r"still running|more than"):
            student.forever(lambda i: i)


@pytest.fixture(params=["here", "sandbox"])
def hurried(request, where):
    """A student with 0.6 s for the exercise."""
    source = (
        SOURCE + "\nimport time\ndef waits(x): time.sleep(0.7); return x\n"
        "def works(x):\n    while time.process_time() < x: pass\n    return x\n"
        "def now(): return time.process_time()\n"
    )
    if request.param == "sandbox":
        with Sandbox([source], chapter=99, where=where) as sandbox:
            yield Student(Answers(sandbox, exercise(), seconds=0.6))
    else:
        names: dict = {}
        exec(source, names)
        yield Student(Here(names, seconds=0.6))


def test_a_busy_machine_costs_nobody_a_grade(hurried):
    """What waits for the processor is not what works: here a sleep stands for the others that have it."""
    assert hurried.waits(3) == 3
    assert hurried.twice(3) == 6
    hurried.works(hurried.now() + 0.1)
    with pytest.raises(StudentError, match=r"still running"):
        hurried.works(hurried.now() + 9.0)
    with pytest.raises(StudentError, match="used up before"):
        hurried.twice(3)


def test_what_waits_for_ever_is_stopped(hurried):
    with pytest.raises(StudentError, match="still running"):
        for _ in range(9):
            hurried.waits(3)


@pytest.mark.parametrize(
    ("passed", "worked", "charged"),
    [(1, 1, 1), (8, 1, 2), (8, 3, 3), (2, 4, 2), (8, float("nan"), 8), (8, -100, 2), (8, float("inf"), 8)],
)
def test_a_process_gains_no_more_by_a_lie_about_its_time_than_by_sleep(passed, worked, charged):
    assert limits.cost(passed, worked) == charged


def test_an_object_is_gone_when_its_process_is(where):
    source = SOURCE + "\ndef dies():\n    import os; os._exit(3)\n"
    with Sandbox([source], chapter=99, where=where) as sandbox:
        student = Student(Answers(sandbox, exercise()))
        module = student.Linear(2, 3)
        with pytest.raises(StudentError, match="ended the Python process"):
            student.dies()
        with pytest.raises(StudentError, match="is gone"):
            module(torch.ones(1, 2))
        assert student.twice(3) == 6


@pytest.mark.parametrize(
    "lie",
    [
        b"\xff" * 64,
        wire.HEADER.pack(1 << 31, 0),
        wire.HEADER.pack(5, 0) + b"[[[[[",
        wire.HEADER.pack(2, 0) + b"[]",
        wire.HEADER.pack(4, 0) + b"null",
        wire.encode({"id": 10**6, "value": 1}),
        wire.encode({"back": 0, "args": [], "kwargs": {}}),
        wire.encode({"back": -1, "args": 3, "kwargs": None}),
        wire.encode({"id": 3, "error": ["pass", 1]}),
    ],
    ids=["noise", "huge", "broken", "list", "null", "not asked", "no function", "nonsense", "odd error"],
)
def test_a_lie_costs_its_call_and_nothing_else(where, lie):
    """The student's code finds the pipe and writes what it likes."""
    source = f"""
def lies(x):
    import os
    for number in range(3, 100):
        try:
            os.write(number, {lie!r})
        except OSError:
            pass
    return x
def twice(x): return 2 * x
"""
    with Sandbox([source], chapter=1, where=where) as sandbox:
        student = Student(Answers(sandbox, exercise()))
        with pytest.raises(StudentError, match=r"cannot be graded|ended"):
            student.lies(1)
        assert student.twice(4) == 8


def test_an_endless_stream_ends(where):
    source = "def lies(x):\n    import os\n    while True: os.write(3, b'\\0' * 65536)\ndef twice(x): return 2 * x"
    with Sandbox([source], chapter=1, where=where) as sandbox:
        student = Student(Answers(sandbox, exercise(), seconds=2))
        with pytest.raises(StudentError):
            student.lies(1)
        assert Student(Answers(sandbox, exercise())).twice(4) == 8


def test_frames_that_are_none_raise_wire_errors_only():
    """Whatever bytes come, decoding gives a value or a WireError."""
    rng = np.random.default_rng(0)
    whole = wire.encode({"id": 1, "value": [np.arange(5), (1, "a"), {"k": torch.ones(2)}], "s": {1, 2}})
    for _ in range(3000):
        frame = bytearray(whole)
        for position in rng.integers(8, len(frame), size=rng.integers(1, 4)):
            frame[position] = rng.integers(256)
        at = 0

        def read(n, frame=frame):
            nonlocal at
            at += n
            return bytes(frame[at - n : at])

        with contextlib.suppress(wire.WireError):
            wire.decode(read)


def test_what_is_closed_of_the_library():
    first = library.open_to(1)
    assert first["attnlab.softmax"] is None
    assert first["attnlab.arrays"] is not None
    assert first["attnlab.dot_product"] is None, "it imports the softmax, or holds a later exercise"
    assert library.open_to(99)["attnlab.softmax"] is not None


def test_a_prop_is_made_where_the_students_code_runs(student):
    """Its parts go into a call as objects, so gradients flow and an optimiser can step; what became of it is read."""
    table = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 2.0]])
    bench = student.prop("Bench", table, rate=1.0, stale=7.0)
    model, score, optimizer = (bench.attribute(part) for part in ("model", "score", "optimizer"))
    assert bench.gradient().eq(7).all()
    batch = torch.tensor([[1, 1]]), torch.tensor([[2, 0]])  # the second place is padding
    assert student.trains(model, batch, score, optimizer) == 1
    p = (table[1] / 2).softmax(0)  # in training the logits are halved
    expected = table.clone()
    expected[1] -= (p - torch.tensor([0.0, 0.0, 1.0])) / 2
    torch.testing.assert_close(model.parameters()["weight"], expected)
    assert bench.attribute("backwards") == optimizer.attribute("steps") == 1
    assert bench.attribute("seen") == [(True, True)]
