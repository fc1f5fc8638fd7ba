"""Feedback: what a student is told, what is kept from them, and that nbgrader's exchange hands it out."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from classes import CONFIG, NAME, hand_in, lab, nbgrader
from submissions import SEED, SOFTMAX
from test_pages import EVIL, Page, attack
from typer.testing import CliRunner

from autograder import catalogue
from autograder.classroom import Classroom
from autograder.expect import as_numpy, number
from autograder.judge import VISIBLE_SEED
from autograder.laws import run_check
from autograder.report import discreet, feedback
from autograder.student import Here
from course.command import app

LEAKS = {
    "returns": "def softmax(x, axis=-1):\n    return x",
    "raises": "def softmax(x, axis=-1):\n    raise ValueError(f'{x.tolist()}')",
    "spells": "def softmax(x, axis=-1):\n    raise ValueError(' '.join(f'{v:.17f}' for v in x.ravel()))",
    "names": "def softmax(x, axis=-1):\n    return type(repr(x), (), {})()",
    "remembers": "seen = []\ndef softmax(x, axis=-1):\n    seen.append(x)\n    raise ValueError(str(seen))",
}


def inputs_of(name: str, seed: int = SEED) -> set[str]:
    """The numbers that the graded checks of an exercise put in, as a message would write them."""
    exercise = catalogue.by_name()[name]
    found = set()
    for check in exercise.checks:
        for call in run_check(check, exercise, Here.ours(exercise, exercise.reference), seed)[1]:
            for value in (*call.args, *call.kwargs.values()):
                array = as_numpy(value)
                if array is not None and array.dtype.kind == "f":
                    found |= {number(v) for v in np.ravel(array)[:200] if np.isfinite(v)}
    return {words for words in found if len(re.sub(r"e.*|\D", "", words).lstrip("0")) == 4}


def secrets(name: str) -> set[str]:
    """Those that the secret seed brought."""
    return inputs_of(name) - inputs_of(name, VISIBLE_SEED)


@pytest.fixture(scope="module")
def course(template, tmp_path_factory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("feedback") / "course"
    shutil.copytree(template, root)
    hand_in(root, "innocent", lab({"softmax": SOFTMAX}), "2026-11-20 17:00:00 UTC")
    hand_in(root, "attacker", attack())
    hand_in(root, "minimum", lab({"softmax": SOFTMAX.replace("np.max", "np.min")}, essay="1 < 2 & so on"))
    hand_in(root, "broken", b"no notebook")
    for who, answer in LEAKS.items():
        hand_in(root, who, lab({"softmax": answer}))
    with Classroom(root) as classroom:
        list(classroom.grade(NAME))
    tell(root)
    yield root


def tell(root: Path, **options) -> dict[str, feedback.Told]:
    with Classroom(root) as classroom:
        wanted = feedback.sheets(classroom)
    return {told.student: told for told in feedback.write_all(wanted, **options)}


def read(root: Path, student: str) -> str:
    return (root / "feedback" / student / NAME / f"{NAME}.html").read_text(encoding="utf-8")


def test_a_page_says_the_laws_what_happened_the_points_and_shows_the_answer(course):
    page = read(course, "minimum")
    softmax = catalogue.by_name()["softmax"]
    assert all(f"</span>{law}" in page for law in (c.law for c in softmax.checks) if "`" not in law)
    assert "This is what comes out when the minimum is subtracted." in page
    assert "<strong>21</strong> of 26" in page and "5 of 6 points" in page
    assert 'class="pictures"' in page and ">NaN</td>" in page
    assert "np</span>" in page and "1 &lt; 2 &amp; so on" in page
    assert "A person is still to read this." in page
    assert page.count("import numpy") == 0  # what the course gave is not repeated


def test_nothing_of_a_student_does_anything_in_their_page(course):
    innocent, attacked = read(course, "innocent"), read(course, "attacker")
    assert "evil" in attacked

    def active(page: str) -> set[str]:
        digest = re.compile(r"[0-9a-f]{64}")  # each page names its own source
        return {digest.sub("", found) for found in Page(page).found}

    assert active(attacked) == active(innocent)
    assert "attnlab-source" in innocent and all(words not in attacked for words in EVIL[:3])


@pytest.mark.parametrize("who", [*LEAKS, "minimum"])
def test_the_seed_and_the_inputs_stay_with_the_instructor(course, who):
    """What a law's own sentence says is one number of what came, and one of what was expected; nothing else is told."""
    secret = secrets("softmax")
    page = read(course, who)
    body = page[page.index("<main") : page.index("</main>")]
    said = re.findall(r"result is (\S+); expected is (\S+)\.", body)
    told = {words for pair in said for words in pair}
    numbers = set(re.findall(r"-?\d+\.?\d*(?:e[-+]\d+)?", body.replace("−", "-")))
    assert len(secret) > 50 and str(SEED) not in page
    assert numbers & secret <= told
    assert len(said) <= body.count('class="mark fail"')
    longest = max(len(words) for words in re.findall(r'<div class="small soft">(.*?)</div>', body, re.DOTALL))
    assert longest < 3 * discreet.LONGEST  # escaped


def test_without_the_veil_the_inputs_would_be_told(course):
    """The same pages as the instructor's own report has them."""
    from autograder.report import teacher

    out = course.parent / "report.html"
    teacher.write_report(course, out)
    assert set(re.findall(r"-?\d+\.\d+", out.read_text(encoding="utf-8"))) & secrets("softmax")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("Tried: `softmax(x) with x = [0.3719, -1.2, 2]`.", "Tried: `softmax(x) with x = an array of shape (3,)`."),
        ("Tried: `f(x, 0.001) with x = [1, 0.25]`.", "Tried: `f(x, 0.001) with x = [1, 0.25]`."),
        ("Tried: `f(x, 0.7312)`.", "Tried: `f(x, …)`."),
        ("At [2] your result is 0.1234; expected is -0.5. Hm?", "At [2] your result is 0.1234; expected is -0.5. Hm?"),
        ("Your `f` raised ValueError: 1.2345e-05, in line 3.", "Your `f` raised ValueError: …, in line 3."),
        ("Your result has shape (3, 5); expected is (3, 7).", "Your result has shape (3, 5); expected is (3, 7)."),
        ("x" * 1000, "x" * 300 + " …"),
    ],
)  # fmt: skip
def test_a_sentence_keeps_what_is_the_laws_and_loses_what_was_drawn(words, told):
    assert discreet.sentence(words) == told


def test_a_picture_keeps_its_shades_and_one_number():
    cell = [[{"shown": "0.37", "shade": 0.37}, {"shown": "NaN", "shade": None}], [{"shown": "1", "shade": 1.0}] * 2]
    drawn = discreet.picture({"yours": cell, "expected": cell, "mark": [1, 0], "rows": [4, 5], "columns": [0, 1]})
    assert [[v["shown"] for v in line] for line in drawn["yours"]] == [["", "NaN"], ["1", ""]]
    assert [[v["shade"] for v in line] for line in drawn["expected"]] == [[2, None], [5, 5]]


def test_only_pages_whose_words_changed_are_written(course, tmp_path):
    root = tmp_path / "course"
    shutil.copytree(course, root)
    assert {told.change for told in tell(root).values()} == {"same"}
    before = (root / "feedback" / "innocent" / NAME / f"{NAME}.html").stat().st_mtime_ns
    say(root, "minimum", "Well argued.")
    came = tell(root, jobs=2)
    assert {s for s, told in came.items() if told.change == "changed"} == {"minimum"}
    assert "Well argued." in read(root, "minimum")
    assert (root / "feedback" / "innocent" / NAME / f"{NAME}.html").stat().st_mtime_ns == before
    shutil.rmtree(root / "feedback" / "innocent")
    assert {s: told.change for s, told in tell(root).items() if told.change != "same"} == {"innocent": "new"}
    assert {told.change for told in tell(root, force=True).values()} == {"changed"}


def say(root: Path, student: str, words: str) -> None:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as stock:
        stock.find_comment("essay", NAME, NAME, student).manual_comment = words
        stock.find_grade("essay", NAME, NAME, student).manual_score = 2.5
        stock.find_submission_notebook(NAME, NAME, student).late_submission_penalty = 1.5
        stock.db.commit()


def test_a_comment_points_by_hand_and_a_penalty_are_told_and_no_markup_in_them(course, tmp_path):
    root = tmp_path / "course"
    shutil.copytree(course, root)
    say(root, "minimum", "<script>evil</script>")
    tell(root)
    page = read(root, "minimum")
    assert "&lt;script&gt;evil&lt;/script&gt;" in page and page.count("<script") == 1
    assert "A person gave these points." in page and "2.5 of 3 points" in page
    assert "<strong>22</strong> of 26" in page  # 21 + 2.5 − 1.5


def test_who_could_not_be_graded_reads_why_and_no_path_of_the_instructors(course):
    page = read(course, "broken")
    assert "This could not be graded" in page and "not a notebook" in page
    assert str(course) not in page and "submitted/" not in page


def test_the_command_says_what_it_did(course, tmp_path):
    root = tmp_path / "course"
    shutil.copytree(course, root)
    done = CliRunner().invoke(app, ["feedback", "--course", str(root), "--jobs", "1"])
    assert done.exit_code == 0 and "9 pages: 0 new, 0 changed, 9 as they were." in done.stdout
    assert "9 did not come by nbgrader's exchange" in done.stdout
    done = CliRunner().invoke(app, ["feedback", "minimum", "--course", str(root), "--force", "--json"])
    told = json.loads(done.stdout)
    assert (told["changed"], [p["student"] for p in told["pages"]]) == (1, ["minimum"])
    done = CliRunner().invoke(app, ["feedback", "nobody", "--course", str(root)])
    assert done.exit_code == 2 and "nothing of nobody was graded" in done.stderr
    done = CliRunner().invoke(app, ["feedback", "--course", str(tmp_path)])
    assert done.exit_code == 2 and "is no course" in done.stderr


def test_a_class_without_grades_gets_no_pages(template):
    done = CliRunner().invoke(app, ["feedback", "--course", str(template)])
    assert done.exit_code == 1 and "Nothing is graded yet" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="nbgrader's exchange is for Unix")
def test_nbgraders_exchange_hands_the_page_out(course, tmp_path):
    root, exchange = tmp_path / "course", tmp_path / "exchange"
    shutil.copytree(course, root)
    exchange.mkdir(mode=0o777)
    exchange.chmod(0o777)
    more = f"get_config().Exchange.root = {str(exchange)!r}\nget_config().CourseDirectory.course_id = 'attention'\n"
    (root / "nbgrader_config.py").write_text(CONFIG + more)
    secret = root / "submitted" / "innocent" / NAME / "submission_secret.txt"
    secret.write_text("a secret of the exchange's")
    came = tell(root)
    assert [student for student, told in came.items() if told.released] == ["innocent"]
    nbgrader(root, "release_feedback", NAME, "--student", "innocent")
    (handed_out,) = (exchange / "attention" / "feedback").glob("*.html")
    assert handed_out.read_text(encoding="utf-8") == read(root, "innocent")


@pytest.mark.slow
def test_nbgraders_own_feedback_keeps_the_inputs_too(course, tmp_path):
    root = tmp_path / "course"
    shutil.copytree(course, root)
    nbgrader(root, "generate_feedback", NAME, "--student", "raises", "--force")
    nbgrader(root, "generate_feedback", NAME, "--student", "returns", "--force")
    for who in ("raises", "returns"):
        page = unescape(read(root, who))
        assert "laws hold" in page and "attnlab-source" not in page
        told = {words for pair in re.findall(r"result is (\S+); expected is (\S+)\.", page) for words in pair}
        assert set(re.findall(r"-?\d+\.\d+", page.replace("−", "-"))) & secrets("softmax") <= told
