"""Whatever happens in a run, nothing recorded is lost, and after a restart every submission is graded exactly once."""

import copy
import errno
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from classes import CLASS, NAME, ROOT, WORTH, book, graded, hand_in, lab

from autograder import classroom as module
from autograder import gradebook, history, host, pool
from autograder.classroom import Classroom, GradebookError
from autograder.gradebook import Gradebook

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked here, and killed")

STUDENTS = ("anna", "ben", "dora", "çelik")
STAMP = "2026-01-09 12:00:00 UTC"
WATCHED = {module.__file__, gradebook.__file__, history.__file__}


@pytest.fixture
def handed_in(course) -> Path:
    for student in STUDENTS:
        hand_in(course, student, CLASS[student], STAMP)
    return course


@pytest.fixture
def right(handed_in, tmp_path_factory) -> tuple[dict, Callable]:
    """What the gradebook says after a run that nothing happened to, and judges that give its verdicts at once."""
    other = tmp_path_factory.mktemp("right")
    subprocess.run(["cp", "-r", f"{handed_in}/.", str(other)], check=True)
    with Classroom(other) as classroom:
        results = {result.student: copy.deepcopy(result) for result in classroom.grade(NAME)}
    for result in results.values():
        result.scores = {}

    def judges(books, seed, waiting) -> Iterator:
        yield from ((number, copy.deepcopy(results[h.student])) for number, h in enumerate(waiting))

    return book(other), judges


def in_another_process(act: Callable[[], object]) -> int:
    """Run it in a fork; how that ended, as a status or as minus a signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(course: Path, judges: Callable | None, **options) -> list[str]:
    with Classroom(course) as classroom:
        return [result.student for result in classroom.grade(NAME, judges=judges, **options)]


def killed_at(line: int, act: Callable[[], object]) -> Callable[[], object]:
    """Kill -9 of ourselves before the line of grading that comes at this place in the order of execution."""
    left = line

    def trace(frame, event, value):
        nonlocal left
        if frame.f_code.co_filename not in WATCHED:
            return None
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    def traced():
        sys.settrace(trace)
        act()

    return traced


def recorded(course: Path) -> dict[str, list[float | None]]:
    """The points of every judgement that was recorded, by student."""
    found: dict[str, list[float | None]] = {}
    with Classroom(course) as classroom:
        for event in classroom.history():
            found.setdefault(event.student, []).append(event.after)
    return found


def is_whole(course: Path, expected: dict) -> None:
    assert book(course) == expected
    assert {student: len(points) for student, points in recorded(course).items()} == dict.fromkeys(STUDENTS, 1)
    for student in STUDENTS:
        names = sorted(path.name for path in (course / "autograded" / student / NAME).iterdir())
        assert names == [f"{NAME}.ipynb", "timestamp.txt"]


def lines_of_a_run(course: Path, judges: Callable, folder: Path) -> int:
    """How many lines of grading a whole run executes."""
    subprocess.run(["cp", "-r", f"{course}/.", str(folder)], check=True)
    count = 0

    def trace(frame, event, value):
        nonlocal count
        if frame.f_code.co_filename not in WATCHED:
            return None
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run(folder, judges)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("seed", [0, 1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_kill_9_of_the_coordinator_at_random_moments(handed_in, right, seed, tmp_path_factory):
    expected, judges = right
    lines = lines_of_a_run(handed_in, judges, tmp_path_factory.mktemp("counted"))
    draw = random.Random(seed)
    known: dict[str, list] = {}
    kills = 0
    for _ in range(8):
        moment = draw.randrange(1, lines)
        status = in_another_process(killed_at(moment, lambda: run(handed_in, judges)))
        assert status in (0, -signal.SIGKILL)
        kills += status != 0
        with sqlite3.connect(handed_in / "gradebook.db") as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        now = recorded(handed_in)
        assert known.items() <= now.items(), "what was recorded stays, and stays as it was"
        known = now
    assert kills
    run(handed_in, judges)
    is_whole(handed_in, expected)
    assert run(handed_in, judges) == []


STEPS = {
    "before anything is written": (module, "_write_beside", False),
    "when the notebook lies beside its place": (module, "_write_beside", True),
    "in the middle of the transaction": (gradebook, "_write_scores", True),
    "before the commit": (history, "write", True),
    "after the commit": (module, "_put", False),
    "when all is done": (module, "_put", True),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("regrade", [False, True], ids=["first time", "regrade"])
def test_kill_9_between_any_two_steps(handed_in, right, step, regrade, monkeypatch):
    expected, judges = right
    where, name, after = STEPS[step]
    real = getattr(where, name)
    if regrade:
        run(handed_in, judges)
        for student in STUDENTS:
            hand_in(handed_in, student, CLASS[student] | {"again": 1}, STAMP)

    def killed(*words):
        if after:
            real(*words)
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patched:
        patched.setattr(where, name, killed)
        assert in_another_process(lambda: run(handed_in, judges)) == -signal.SIGKILL
    committed = step in ("after the commit", "when all is done")
    assert run(handed_in, judges) == list(STUDENTS[1:] if committed else STUDENTS)
    assert all(len(points) == 1 + regrade for points in recorded(handed_in).values())
    if not regrade:
        is_whole(handed_in, expected)
    assert book(handed_in) == expected


@pytest.mark.slow
def test_kill_9_of_a_real_run_takes_its_workers_with_it(handed_in, right):
    """The command itself, with two workers; killed when it has said that one is done, and then three more."""
    for number in range(6):
        hand_in(handed_in, f"s{number}", lab({}))
    command = [sys.executable, "-m", "course", "grade", "--course", str(handed_in), "--jobs", "2"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["lib", "."]), "OMP_NUM_THREADS": "1"}
    for lines in (1, 3):
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment) as process:
            for _ in range(lines):
                assert "graded" in process.stderr.readline()
            process.kill()
            assert process.wait() == -signal.SIGKILL
            assert len(recorded(handed_in)) >= lines
            process.stderr.read()  # ends only when every process that holds our pipe has ended
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert {len(points) for points in recorded(handed_in).values()} == {1}
    assert len(recorded(handed_in)) == 10
    assert {student: scores for student, scores in book(handed_in).items() if student in STUDENTS} == right[0]


# ------------------------------------------------------------------------------------------------------- a full disk

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("point", ["mkdir", "open", "fsync", "replace"])
def test_a_full_disk_at_every_write_stops_with_one_sentence_and_loses_nothing(handed_in, right, point, monkeypatch):
    expected, judges = right
    count = 0
    last = 7 if point == "mkdir" else 3  # of the calls: three folders are made one by one, two files are written
    real = {"mkdir": Path.mkdir, "open": open, "fsync": os.fsync, "replace": os.replace}[point]

    def full(*words, **options):
        nonlocal count
        if point != "open" or ".new" in str(words[0]):
            count += 1
            if count == last:
                raise FULL
        return real(*words, **options)

    with monkeypatch.context() as patched:
        where = {"mkdir": Path, "open": module, "fsync": os, "replace": os}[point]
        patched.setattr(where, point, full, raising=False)
        with pytest.raises(GradebookError, match=r"cannot be written: No space left.*make room on its disk and give"):
            run(handed_in, judges)
    kept = recorded(handed_in)
    assert 1 <= len(kept) < len(STUDENTS)
    run(handed_in, judges)
    assert kept.items() <= recorded(handed_in).items()
    is_whole(handed_in, expected)


def test_a_full_disk_under_the_database(handed_in, right, monkeypatch):
    """SQLite itself says that there is no room: its file may not grow beyond what it has."""
    expected, judges = right
    real = gradebook._take_turns

    def small(db, student):
        db.exec_driver_sql("PRAGMA max_page_count = 1")  # SQLite takes the present size
        real(db, student)

    with monkeypatch.context() as patched:
        patched.setattr(gradebook, "_take_turns", small)
        with pytest.raises(
            GradebookError, match=r"gradebook\.db cannot be written or read: database or disk is full\."
        ):
            run(handed_in, judges)
    run(handed_in, judges)
    is_whole(handed_in, expected)


def test_a_real_full_disk(handed_in, right, tmp_path_factory):
    """A file system of a few pages, filled up."""
    expected, judges = right
    small = tmp_path_factory.mktemp("small")
    size = sum(path.stat().st_size for path in handed_in.rglob("*") if path.is_file()) + (600 << 10)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(small)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        subprocess.run(["cp", "-r", f"{handed_in}/.", str(small)], check=True)
        Classroom(small).close()  # makes our tables
        filler = small / "filler"
        with filler.open("wb") as file:
            free = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
            file.write(b"x" * (free - (80 << 10)))  # room for one or two
        with pytest.raises(GradebookError, match="make room on its disk"):
            run(small, judges)
        assert len(recorded(small)) < len(STUDENTS)
        filler.unlink()
        run(small, judges)
        is_whole(small, expected)
    finally:
        subprocess.run(["umount", str(small)], check=True)


# ------------------------------------------------------------------------------------------------ a locked gradebook


def holding(course: Path) -> sqlite3.Connection:
    other = sqlite3.connect(course / "gradebook.db", isolation_level=None, timeout=0)
    other.execute("BEGIN EXCLUSIVE")
    return other


def test_a_locked_gradebook_is_waited_for_and_the_run_says_so(handed_in, right):
    expected, judges = right
    other = holding(handed_in)
    said: list[str] = []

    def tell(sentence: str) -> None:
        said.append(sentence)
        other.rollback()

    with Classroom(handed_in, tell=tell) as classroom:
        for number, _ in enumerate(classroom.grade(NAME, judges=judges)):
            if number == 1:
                other = holding(handed_in)
    assert len(said) == 2, "when it was opened, and in the middle of the run"
    assert all("The gradebook gradebook.db is locked by another program; waiting for it" in line for line in said)
    is_whole(handed_in, expected)


def test_a_gradebook_that_stays_locked_ends_the_run_with_one_sentence(handed_in, right, monkeypatch):
    expected, judges = right
    monkeypatch.setattr("autograder.database.PATIENCE", 0.0)
    with Classroom(handed_in) as classroom:
        grading = classroom.grade(NAME, judges=judges)
        next(grading)
        other = holding(handed_in)
        with pytest.raises(
            GradebookError, match=r"has been locked by another program for .* give the same command again"
        ):
            next(grading)
        other.rollback()
    assert len(recorded(handed_in)) == 1
    run(handed_in, judges)
    is_whole(handed_in, expected)


# --------------------------------------------------------------------------------------------------- a dead worker


def deadly(times: int, student: str, where: Path) -> Callable:
    """Judging that is killed, this often, when it comes to this student."""
    real = module.judge_submission

    def judge(handed, released, seed):
        deaths = len(list(where.glob("death*")))
        if handed.student == student and deaths < times:
            (where / f"death{deaths}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(handed, released, seed)

    return judge


def test_a_worker_that_is_killed_costs_nothing(handed_in, right, monkeypatch, tmp_path_factory):
    monkeypatch.setattr(module, "judge_submission", deadly(1, "ben", tmp_path_factory.mktemp("deaths")))
    assert sorted(graded(handed_in, jobs=2)) == sorted(STUDENTS)
    is_whole(handed_in, right[0])


def test_a_submission_that_kills_its_worker_twice_is_recorded_and_the_rest_go_on(
    handed_in, right, monkeypatch, tmp_path_factory
):
    expected, judges = right
    monkeypatch.setattr(module, "judge_submission", deadly(2, "ben", tmp_path_factory.mktemp("deaths")))
    came = graded(handed_in, jobs=2)
    assert "twice, while judged, its process was ended by SIGKILL" in came["ben"].error
    assert {student for student in came if not came[student].error} == set(STUDENTS) - {"ben"}
    assert recorded(handed_in)["ben"] == [None]
    assert "ben" not in book(handed_in)
    assert run(handed_in, judges) == ["ben"], "and the next run tries again"
    assert book(handed_in) == expected


def test_a_worker_killed_while_it_asks_for_a_process_does_not_stop_the_others(
    handed_in, right, monkeypatch, tmp_path_factory
):
    """It holds the lock on the process that all share, and an answer to it is on its way."""
    flag = tmp_path_factory.mktemp("deaths") / "death"
    real = host.Zygote._answer
    us = os.getpid()

    def answer(self, ticket):
        if os.getpid() != us and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, ticket)

    if not isinstance(host.shared(), host.Zygote):
        pytest.skip("no process is shared here")
    monkeypatch.setattr(host.Zygote, "_answer", answer)
    assert sorted(graded(handed_in, jobs=2)) == sorted(STUDENTS)
    assert flag.exists()
    is_whole(handed_in, right[0])


def test_the_pool_gives_back_what_is_done_and_how_the_others_died():
    def act(number):
        if number == 3:
            os._exit(7)
        return number * number

    came = dict(pool.run(act, range(6), 2))
    assert isinstance(came[3], pool.Died) and str(came.pop(3)) == "its process ended with status 7"
    assert came == {0: 0, 1: 1, 2: 4, 4: 16, 5: 25}


def test_a_fault_of_the_judges_own_ends_the_run():
    def act(number):
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        list(pool.run(act, range(3), 2))


# ------------------------------------------------------------------------------------------------- two runs at once


def test_two_runs_at_once_record_each_submission_once(handed_in, right):
    expected, judges = right

    def overtaken(books, seed, waiting) -> Iterator:
        assert run(handed_in, judges) == list(STUDENTS)
        yield from judges(books, seed, waiting)

    assert run(handed_in, overtaken) == list(STUDENTS)
    is_whole(handed_in, expected)


def test_what_a_person_gave_survives_a_submission_that_is_handed_in_again(handed_in, right):
    from nbgrader.api import Gradebook as Stock

    run(handed_in, right[1])
    with Stock(f"sqlite:///{handed_in / 'gradebook.db'}") as stock:
        notebook = stock.find_submission_notebook(NAME, NAME, "ben")
        for grade in notebook.grades:
            if grade.name == "essay":
                grade.manual_score, grade.needs_manual_grade = 2, False
        for comment in notebook.comments:
            comment.manual_comment = "Well put."
        stock.db.commit()
    hand_in(handed_in, "ben", lab({}, essay="Because of exp."), "2026-01-10 12:00:00 UTC")
    assert run(handed_in, None) == ["ben"]
    found = book(handed_in)["ben"]
    assert found["essay"] == (None, 2, 2, True), "a person is asked to look again"
    assert found["essay!"] == (None, "Well put.")
    with Classroom(handed_in) as classroom:
        first, second = classroom.history(students=["ben"])
    assert (first.after, second.before, second.after) == (21, 23, sum(WORTH.values()) + 2)


def test_nbgraders_own_tools_do_not_stumble_over_our_tables(handed_in, right):
    from nbgrader.api import Gradebook as Stock

    run(handed_in, right[1])
    with Stock(f"sqlite:///{handed_in / 'gradebook.db'}") as stock:
        stock.remove_submission(NAME, "ben")
        stock.remove_student("anna")
    assert sorted(book(handed_in)) == ["dora", "çelik"]
    assert len(recorded(handed_in)) == 4
    with Gradebook(f"sqlite:///{handed_in / 'gradebook.db'}") as reopened:
        assert reopened.assignments() == [NAME]
