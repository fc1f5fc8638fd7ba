"""The class report: its numbers, its words, and that nothing of a student's in it does anything."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest
import schools
from classes import NAME, WORTH, hand_in, lab
from schools import DUE, NOW, verdict_of
from submissions import SOFTMAX
from test_pages import EVIL, Page
from typer.testing import CliRunner

from autograder import catalogue
from autograder.classroom import Classroom
from autograder.report import figures, gather, teacher
from autograder.report.model import Assignment, Outcome, Person, SchoolClass, Step, Work, outcome
from course.command import app

SHEET = Assignment("01_softmax", "1 · Softmax", DUE, {"softmax": 6.0, "log_softmax": 5.0})


def work(student: str, softmax: str = "right", log_softmax: str = "right", **changed) -> Work:
    outcomes = (outcome(verdict_of("softmax", softmax)), outcome(verdict_of("log_softmax", log_softmax)))
    made = Work(
        student, SHEET.name, "graded", DUE, points=sum(o.score for o in outcomes), worth=11.0, outcomes=outcomes
    )
    return replace(made, **changed)


def school(*works: Work, assignments=(SHEET,)) -> SchoolClass:
    people = {w.student: Person(w.student, w.student.capitalize()) for w in works}
    return SchoolClass("A course", NOW, people, assignments, works)


# ---------------------------------------------------------------------------------------------------------- figures


def test_the_first_figures_count_each_submission_once():
    head = figures.head(
        school(
            work("anna"),
            work("ben", late=timedelta(hours=2), penalty=1.0, points=10.0),
            work("chen", state="broken", outcomes=(), points=0.0),
            work("dora", state="waiting", outcomes=(), points=0.0),
            work("emil", state="missing", outcomes=(), points=0.0, at=None),
        )
    )
    assert (head.people, head.expected, head.handed_in, head.graded) == (5, 5, 4, 2)
    assert (head.broken, head.waiting, head.late) == (1, 1, 1)
    assert head.share == pytest.approx(21 / 22)


def test_an_exercise_is_solved_where_all_its_laws_hold_and_a_persons_points_count():
    wrong = work("ben", softmax="subtracts_the_minimum")
    raised = outcome(verdict_of("softmax", "subtracts_the_minimum"), score=6.0, by_hand=True)
    works = [
        work("anna"),
        wrong,
        replace(wrong, student="chen", outcomes=(raised, wrong.outcomes[1])),
        work("d", "todo"),
    ]
    softmax, log_softmax = figures.exercises(SHEET, works)
    assert (softmax.name, softmax.graded, softmax.passed, softmax.unwritten) == ("softmax", 4, 1, 1)
    assert softmax.mean == pytest.approx((6 + 5 + 6 + 0) / 4)
    assert (log_softmax.passed, log_softmax.rate) == (4, 1.0)


def test_a_misconception_is_told_with_its_share_its_explanation_its_law_and_its_code():
    works = [
        work("anna"),
        *(work(s, "subtracts_the_minimum") for s in ("ben", "chen")),
        work("dora", "forgets_to_divide"),
    ]
    unsure = replace(works[2].outcomes[0], certain=False)
    works[2] = replace(works[2], outcomes=(unsure, works[2].outcomes[1]))
    broken = work("emil", "subtracts_the_minimum", state="broken")
    first, second = figures.misconceptions(school(*works, broken))
    known = next(m for m in catalogue.by_name()["softmax"].misconceptions if m.name == "subtracts_the_minimum")
    assert (first.title, first.certain, first.perhaps, first.share) == ("Subtracts the minimum", ["ben"], ["chen"], 0.5)
    assert first.explanation == known.explanation
    assert first.law == next(c.law for c in catalogue.by_name()["softmax"].checks if c.name == known.caught_by)
    assert first.code.startswith("def subtracts_the_minimum(") and known.explanation[:20] not in first.code
    assert (second.name, second.count, second.graded) == ("forgets_to_divide", 1, 4)


def test_a_misconception_that_the_course_has_no_more_is_told_as_it_was():
    gone = replace(work("ben", "subtracts_the_minimum").outcomes[0], misconception="gone", explanation="It was so.")
    (held,) = figures.misconceptions(school(work("ben", outcomes=(gone,))))
    assert (held.explanation, held.code) == ("It was so.", "")
    assert held.law == gone.broken[0].law


def test_wrong_answers_without_a_misconception_are_told_apart():
    assert figures.unexplained(school(work("anna"), work("ben", "odd"), work("chen", "subtracts_the_minimum"))) == {
        ("01_softmax", "softmax"): ["ben"]
    }


def test_laws_are_ranked_by_how_many_broke_them_of_those_who_wrote_something():
    works = [work("anna"), work("ben", "subtracts_the_minimum"), work("chen", "odd"), work("dora", "todo")]
    laws = figures.broken_laws(school(*works))
    assert [law.broken for law in laws] == sorted((law.broken for law in laws), reverse=True)
    assert {law.tried for law in laws} == {3}
    assert laws[0].law == works[1].outcomes[0].broken[0].law and laws[0].broken == 2


def test_the_rule_of_who_needs_help_is_the_one_on_the_page():
    half = work("half", points=5.5)
    listed = figures.needs_help(
        school(
            work("anna"),
            half,
            work("less", "subtracts_the_minimum", points=5.4),
            work("late", points=4.5, penalty=1.0, late=timedelta(days=3)),
            work("broken", state="broken"),
            work("missing", state="missing", at=None),
        )
    )
    assert {one.student for one in listed} == {"less", "broken", "missing"}
    assert next(one for one in listed if one.student == "less").begin_with == (("softmax", "subtracts_the_minimum"),)
    later = replace(SHEET, due=NOW + timedelta(days=1))
    waiting = school(work("missing", state="missing", at=None), assignments=(later,))
    assert figures.needs_help(waiting) == []  # there is still time


def test_no_column_of_the_histogram_lies_across_the_due_date_and_every_submission_is_in_one():
    moments = [DUE - timedelta(hours=h) for h in (0, 0.5, 5, 30, 30.5)] + [DUE + timedelta(minutes=1)]
    works = [work(str(i), at=at, late=max(timedelta(), at - DUE)) for i, at in enumerate(moments)]
    bins, width = figures.histogram(works, DUE)
    assert sum(b.count for b in bins) == len(works) and sum(b.late for b in bins) == 1
    assert any(b.start == DUE for b in bins) and width == timedelta(hours=1)
    assert [b.count for b in bins if b.start == DUE] == [1]  # on the minute is in time
    assert all(b.late in (0, b.count) for b in bins)
    for far in (timedelta(days=40), timedelta(days=4000)):
        bins, _ = figures.histogram([*works, work("far", at=DUE - far)], DUE)
        assert len(bins) < 50 and sum(b.count for b in bins) == len(works) + 1
    assert figures.histogram([work("x", at=None)], DUE)[0] == []
    assert [b.count for b in figures.histogram([work("x", at=NOW)], None)[0]] == [1]


# -------------------------------------------------------------------------------------------------------------- page


@pytest.fixture(scope="module")
def page() -> str:
    return teacher.page(schools.school(30))


def test_the_page_is_whole_and_asks_nobody_for_anything(page):
    assert not re.search(r"(?:src|href)=[\"'](?!#)", page)
    assert "url(" not in page and "@import" not in page and "http" not in page.replace("http-equiv", "")
    levels = [int(level) for level in re.findall(r"<h([1-6])\b", page)]
    assert levels.count(1) == 1 and all(b <= a + 1 for a, b in pairwise(levels))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) and set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert set(re.findall(r'aria-labelledby="([^"]+)"', page)) <= set(ids)


def test_the_page_says_the_rule_the_explanation_and_how_little_likeness_proves(page):
    assert figures.HELP_RULE in page
    first = figures.misconceptions(schools.school(30))[0]
    assert first.title in page and first.explanation.split("`")[0][:40] in page
    assert "A hint, and no more than that." in page


def test_a_class_in_which_nothing_is_graded_and_a_class_of_nobody_have_a_page():
    nothing = teacher.page(school(work("anna", state="waiting", outcomes=(), points=0.0)))
    assert "none is graded yet" in nothing and "Nothing is graded yet." in nothing
    assert "No law was tried yet." in nothing and "1 handed in, each column 1 hour." in nothing
    nobody = teacher.page(school())
    assert "Nobody is in this class yet." in nobody and "<tbody>\n</tbody>" not in nobody


def test_nothing_of_a_student_does_anything_in_the_report():
    """Markup as a name, an id, an error, a law's message, a code, an exercise, a version: words, all of it."""
    innocent, attacked = (teacher.page(hostile(words)) for words in ("evil", "\n".join(EVIL)))
    assert "evil" in attacked
    assert sorted(set(Page(attacked).found)) == sorted(set(Page(innocent).found))


def hostile(words: str) -> SchoolClass:
    wrong = outcome(verdict_of("softmax", "subtracts_the_minimum"))
    laws = tuple(replace(law, said=(words, f"`{words}`"), law=words) for law in wrong.laws)
    outcomes = (
        replace(wrong, laws=laws, exercise=words, misconception=words, explanation=words),
        Outcome(words + "2", 0.0, 1.0, open=True),
    )
    step = Step(NOW, words, words, None, None, 1.0, words)
    works = [
        Work(words, words, "graded", DUE, timedelta(days=1), 1.0, 2.0, 6.0, outcomes, "", (step, step)),
        Work("b" + words, words, "broken", DUE, error=words, steps=(step,)),
    ]
    people = {w.student: Person(w.student, w.student) for w in works}
    line = ((words, True), (words, False))
    pairs = [teacher.Pair(words, (words, "b" + words), (0.9, 0.8), (line, line))]
    return SchoolClass(words, NOW, people, [Assignment(words, words, DUE, {words: 6.0})], works, pairs)


def test_only_our_script_may_run(page):
    assert page.count("<script") == 1 and " on" + "click" not in page
    assert re.search(
        r"default-src 'none'; img-src data:; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'", unescape(page)
    )
    assert "unsafe" not in page and 'style="' not in page


@pytest.mark.slow
def test_a_thousand_students_fit_on_a_page():
    page = teacher.page(schools.school(1000))
    assert len(page.encode()) < 6_000_000
    assert page.count('class="student"') == 1000


# ------------------------------------------------------------------------------------------------------ a real class


@pytest.fixture(scope="module")
def course(template, tmp_path_factory) -> Iterator[Path]:
    """Graded twice: the first time without dora, and before ben mended an exercise."""
    root = tmp_path_factory.mktemp("report") / "course"
    shutil.copytree(template, root)
    stamp = "2026-11-20 {}:00:00 UTC"
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as stock:
        stock.update_or_create_assignment(NAME, duedate="2026-11-20 18:00:00 UTC")
        stock.add_student("anna", first_name="Anna", last_name="Berg")
        stock.add_student("emil")
    hand_in(root, "anna", lab({}), stamp.format(17))
    minimum = SOFTMAX.replace("np.max", "np.min")
    hand_in(root, "ben", lab({"softmax": minimum, "softmax_vjp": "softmax_vjp = None"}), stamp.format(16))
    hand_in(root, "chen", b"no notebook", stamp.format(19))
    with Classroom(root) as classroom:
        list(classroom.grade(NAME))
    hand_in(root, "ben", lab({"softmax": minimum}), stamp.format(20))
    with Classroom(root) as classroom:
        list(classroom.grade(NAME))
    hand_in(root, "dora", lab({}), "")
    yield root


def test_a_class_is_read_as_it_is(course):
    with Classroom(course) as classroom:
        read = gather.school_class(classroom)
    works = {w.student: w for w in read.works}
    assert {s: w.state for s, w in works.items()} == {
        "anna": "graded", "ben": "graded", "chen": "broken", "dora": "waiting", "emil": "missing",
    }  # fmt: skip
    assert read.people["anna"].name == "Berg, Anna" and read.people["ben"].name == "ben"
    (assignment,) = read.assignments
    assert dict(assignment.exercises) == {**WORTH, "essay": 3.0} and list(assignment.exercises) == [*WORTH, "essay"]
    assert assignment.due == datetime(2026, 11, 20, 18, tzinfo=UTC)
    ben = works["ben"]
    assert ben.late == timedelta(hours=2) and not works["anna"].is_late
    assert [(step.before, step.after) for step in ben.steps] == [(None, 15.0), (15.0, 21.0)]
    softmax, *_, essay = ben.outcomes
    assert (softmax.misconception, softmax.score, softmax.certain) == ("subtracts_the_minimum", 5.0, True)
    assert essay.open and not essay.laws
    assert "not a notebook" in works["chen"].error


def test_points_by_hand_and_penalties_are_those_of_the_gradebook(course, tmp_path):
    from nbgrader.api import Gradebook

    root = tmp_path / "copy"
    shutil.copytree(course, root)
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as stock:
        grade = stock.find_grade("softmax", NAME, NAME, "ben")
        grade.manual_score, grade.extra_credit = 4.0, 0.5
        stock.find_submission_notebook(NAME, NAME, "ben").late_submission_penalty = 2.0
        stock.db.commit()
        score = stock.find_submission(NAME, "ben").score
    with Classroom(root) as classroom:
        (ben,) = gather.school_class(classroom).by("ben")
    assert ben.outcomes[0].score == 4.5 and ben.outcomes[0].by_hand
    assert ben.points == pytest.approx(score - 2.0) and ben.penalty == 2.0


def test_a_grade_stays_with_its_laws_where_a_later_file_could_not_be_graded(course, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(course, root)
    hand_in(root, "ben", b"no notebook", "2026-11-20 21:00:00 UTC")
    with Classroom(root) as classroom:
        list(classroom.grade(NAME, students=["ben"]))
        (ben,) = gather.school_class(classroom).by("ben")
    assert (ben.state, ben.points, len(ben.steps)) == ("broken", 21.0, 3)
    assert "not a notebook" in ben.error and ben.outcomes[0].held == 5


def test_the_command_writes_the_page_says_what_it_found_and_gives_its_numbers(course, tmp_path):
    out = tmp_path / "report.html"
    done = CliRunner().invoke(app, ["report", "--course", str(course), "--out", str(out)])
    assert done.exit_code == 1  # one could not be graded
    assert "4 of 5 submissions came in" in done.stdout and "subtracts the minimum" in done.stdout
    assert "Could not be graded: 1" in done.stdout and "Not graded yet: 1" in done.stdout
    assert "Berg, Anna" in out.read_text(encoding="utf-8")
    done = CliRunner().invoke(app, ["report", "--course", str(course), "--out", str(out), "--json"])
    told = json.loads(done.stdout)
    assert told["head"]["broken"] == 1 and told["misconceptions"][0]["certain"] == ["ben"]
    assert {s["student"]: s["points"] for s in told["students"]}["ben"] == 21.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--course", "{empty}"], "is no course"),
        (["--assignment", "02_none"], "has no assignment 02_none; those that were released are: lab"),
        (["--out", "{empty}/file/report.html"], "/file: is a file, and a folder is needed there"),
        (["--out", "{empty}"], ": is a folder, and a file is needed there"),
    ],
)
def test_the_command_says_what_is_wrong(course, tmp_path, words, said):
    (tmp_path / "file").write_text("")
    words = [word.format(empty=tmp_path) for word in words]
    done = CliRunner().invoke(app, ["report", "--course", str(course), "--out", str(tmp_path / "r.html"), *words])
    assert done.exit_code == 2 and said in " ".join(done.stderr.split())
