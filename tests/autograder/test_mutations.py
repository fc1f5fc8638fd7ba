"""Every exercise of the course: wrong answers die where they should, right ones live, however they are written."""

import pytest

from autograder import catalogue, panel
from autograder.exercise import Exercise, Misconception
from autograder.expect import same
from autograder.judge import judge
from autograder.laws import generator
from autograder.student import Here

SEEDS = (0, 1, 20261121)  # the visible one, and two that an instructor might keep
EXERCISES = [pytest.param(e, id=e.name) for e in catalogue.all_exercises()]
FUNCTIONS = [pytest.param(e, id=e.name) for e in catalogue.all_exercises() if not isinstance(e.reference, type)]
MISCONCEPTIONS = [
    pytest.param(e, m, id=f"{e.name}-{m.name}") for e in catalogue.all_exercises() for m in e.misconceptions
]
RIGHT = [
    pytest.param(e, f, id=f"{e.name}-{f.__name__}")
    for e in catalogue.all_exercises()
    for f in (e.reference, *e.alternatives)
]


def unwritten(*args, **kwargs):
    raise NotImplementedError()


@pytest.mark.parametrize(("exercise", "answer"), RIGHT)
@pytest.mark.parametrize("seed", SEEDS)
def test_right_answers_pass(exercise: Exercise, answer, seed: int):
    verdict = judge(exercise, Here.ours(exercise, answer), seed)
    assert verdict.passed, panel.text(verdict)
    assert verdict.points == exercise.points
    assert verdict.diagnosis is None


@pytest.mark.parametrize(("exercise", "misconception"), MISCONCEPTIONS)
@pytest.mark.parametrize("seed", SEEDS)
def test_misconceptions_die_at_their_check_and_are_named(exercise: Exercise, misconception: Misconception, seed: int):
    verdict = judge(exercise, Here.ours(exercise, misconception.function), seed)
    fell = {law.check.name: law for law in verdict.laws if law.status != "pass"}
    assert misconception.caught_by in fell, (
        f"{misconception.name} passes {misconception.caught_by}. (If it edits its input: every argument is put back "
        f"after the call, and only `expect.unchanged(student)` in a check sees the edit.)\n{panel.text(verdict)}"
    )
    assert fell[misconception.caught_by].what, "a law that falls says what came and what was expected"
    assert verdict.diagnosis is misconception, (verdict.diagnosis, panel.text(verdict))
    assert misconception.explanation in panel.text(verdict)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_stub_earns_nothing(exercise: Exercise):
    verdict = judge(exercise, Here.ours(exercise, unwritten))
    assert verdict.points == 0
    assert verdict.todo
    assert "Traceback" not in panel.text(verdict)


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("lazy", [None, 0.0, "weights", ()], ids=repr)
def test_no_constant_earns_a_point(exercise: Exercise, lazy):
    assert judge(exercise, Here.ours(exercise, lambda *args, **kwargs: lazy)).points == 0


@pytest.mark.parametrize("exercise", EXERCISES)
def test_returning_the_first_argument_earns_nothing(exercise: Exercise):
    assert judge(exercise, Here.ours(exercise, lambda x, *args, **kwargs: x)).points == 0


@pytest.mark.parametrize("exercise", FUNCTIONS)  # what tells two objects apart is what they answer in the checks
def test_the_drawn_inputs_tell_misconceptions_apart(exercise: Exercise):
    """Each wrong answer differs from the reference somewhere on the inputs that the exercise draws or on its checks."""
    # Drawn twice: a random generator among the arguments is not the same any more once it has been used.
    first, second = (list(exercise.samples(generator(0, exercise, "separate"))) for _ in range(2))
    assert first, f"{exercise.name} declares no inputs"
    for (args, kwargs), (again, kwargs_again) in zip(first, second, strict=True):
        assert same(exercise.reference(*args, **kwargs), exercise.alternatives[0](*again, **kwargs_again))


@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_law_reads_as_a_sentence(exercise: Exercise):
    for words in [c.law for c in exercise.checks] + [m.explanation for m in exercise.misconceptions]:
        assert words[0].isupper() or words[0] == "`", words
        assert words.rstrip(")").endswith((".", "?")), words
        assert words.count("`") % 2 == 0, words
