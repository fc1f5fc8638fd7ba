"""Judging on a cluster: a real scheduler and real workers, each a process of its own."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from classes import CLASS, NAME, ROOT, book, graded, hand_in, lab

from autograder import cluster as module
from autograder.classroom import Classroom, GradebookError
from autograder.cluster import Cluster

pytest.importorskip("distributed", reason="Dask is not installed: python -m pip install -e '.[cluster]'")
STUDENTS = ("anna", "ben", "dora", "çelik")


class Machines:
    """A scheduler, and the workers that were started for it."""

    def __init__(self, folder: Path):
        self.folder, self.running = folder, []
        line = self._start("scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1")
        self.address = "tcp" + line.rpartition("tcp")[2].strip()

    def worker(self, paths: str = f"{ROOT / 'lib'}{os.pathsep}{ROOT}") -> subprocess.Popen:
        words = ("worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        self._start(*words, "--local-directory", str(self.folder), paths=paths)
        return self.running[-1]

    def _start(self, *words: str, paths: str = "") -> str:
        """Until it says where it listens."""
        environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:]]
        process = subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.running.append(process)
        said = "Scheduler at:" if words[0] == "scheduler" else "Starting established connection"
        assert process.stderr is not None
        for line in process.stderr:
            if said in line:
                return line
        raise AssertionError(f"{words[0]} ended with {process.wait()}")

    def close(self) -> None:
        for process in reversed(self.running):
            process.kill()
            process.wait()
            process.stderr.close()


@pytest.fixture
def machines(tmp_path_factory) -> Iterator[Machines]:
    with contextlib.closing(Machines(tmp_path_factory.mktemp("machines"))) as made:
        yield made


@pytest.fixture
def handed_in(course) -> Path:
    for student in STUDENTS:
        hand_in(course, student, CLASS[student])
    hand_in(course, "hugo", b"no notebook")
    return course


def on(machines: Machines, course: Path, said: list[str] | None = None, **options) -> dict:
    said = said if said is not None else []
    with Classroom(course) as classroom:
        cluster = Cluster(machines.address, said.append, **options)
        return {result.student: result for result in classroom.grade(NAME, judges=cluster)}


@pytest.mark.slow
def test_a_cluster_gives_the_grades_that_one_machine_gives_though_a_worker_is_killed(handed_in, machines):
    """Two workers; one is killed -9 when the first result is in, while it judges another submission."""
    for number in range(8):
        hand_in(handed_in, f"s{number}", lab({}))
    workers = [machines.worker(), machines.worker()]
    came = []
    with Classroom(handed_in) as classroom:
        for result in classroom.grade(NAME, judges=Cluster(machines.address, isolated=False)):
            came.append(result)
            if len(came) == 2:  # hugo is refused here; anna is the first that comes back
                workers[0].kill()
        events = classroom.history()
    assert workers[0].wait() == -9 and workers[1].poll() is None
    assert sorted(result.student for result in came) == sorted([*STUDENTS, "hugo", *(f"s{n}" for n in range(8))])
    assert len(events) == len(came), "each recorded once"
    (refused,) = [result for result in came if result.error]
    assert refused.student == "hugo" and str(handed_in) in refused.error
    there = book(handed_in)
    graded(handed_in, force=True)
    assert there == book(handed_in)
    with Classroom(handed_in) as classroom:
        here = classroom.latest()
    assert all(event.verdicts == here[NAME, event.student].verdicts for event in events)


def test_a_worker_without_the_course_or_with_another_version_is_named(handed_in, machines, monkeypatch, tmp_path):
    (tmp_path / "empty" / "autograder").mkdir(parents=True)
    (tmp_path / "empty" / "autograder" / "__init__.py").touch()  # comes before the one that is installed here
    machines.worker(paths=str(tmp_path / "empty"))
    with pytest.raises(GradebookError, match=r"The worker tcp://127\S+ of the cluster at \S+ lacks the course \(.*\);"):
        on(machines, handed_in)
    machines.running[-1].kill()
    machines.worker()
    monkeypatch.setattr(module, "fingerprint", lambda: "0" * 64)
    with pytest.raises(GradebookError, match=r"The worker tcp://127\S+ .* has version .* of the course, and this"):
        on(machines, handed_in)
    with Classroom(handed_in) as classroom:
        assert [event.student for event in classroom.history()] == ["hugo"]


def test_a_cluster_without_workers_is_waited_for_and_one_that_is_not_there_is_told(handed_in, machines, monkeypatch):
    monkeypatch.setattr(module, "WAIT", 0.5)
    said: list[str] = []
    with pytest.raises(GradebookError, match=r"has had no worker for .*; start some with `dask worker tcp:"):
        on(machines, handed_in, said)
    assert len(said) == 1 and "has no worker; waiting for one" in said[0]
    machines.close()
    with pytest.raises(GradebookError, match="There is no Dask scheduler at tcp:"):
        on(machines, handed_in)


@pytest.mark.slow
def test_a_scheduler_that_goes_ends_the_run_with_one_sentence(handed_in, machines):
    machines.worker()
    with Classroom(handed_in) as classroom:
        grading = classroom.grade(NAME, judges=Cluster(machines.address))
        for result in grading:
            if not result.error:
                break
        machines.running[0].kill()
        began = time.monotonic()
        with pytest.raises(GradebookError, match=r"What is graded so far is recorded"):
            list(grading)
        assert time.monotonic() - began < 60
    assert sorted(graded(handed_in)) == sorted({*STUDENTS, "hugo"} - {result.student})
