"""A course of its own in a temporary folder: chapters, exercises, solutions, notebooks."""

import importlib
import shutil
import sys
import textwrap
from pathlib import Path

import pytest
from sources import CHAPTER, EXERCISE

from autograder import catalogue, exercises, releasing
from autograder.coursework import Coursework
from course import newcourse, paths


class Workshop:
    """Writes sources into the temporary course."""

    def __init__(self, root: Path):
        self.root = root
        self.chapters, self.solutions, self.notebooks = root / "chapters", root / "solutions", root / "notebooks"
        self.declarations = root / "exercises"
        for folder in (self.chapters, self.declarations):
            folder.mkdir()

    def chapter(self, text: str = CHAPTER, name: str = "90_doubling") -> Path:
        path = self.chapters / f"{name}.py"
        path.write_text(textwrap.dedent(text).lstrip(), encoding="utf-8")
        return path

    def exercise(self, text: str = EXERCISE, name: str = "ch90_doubling") -> Path:
        path = self.declarations / f"{name}.py"
        path.write_text(textwrap.dedent(text).lstrip(), encoding="utf-8")
        importlib.invalidate_caches()
        forget()
        return path

    def derived(self) -> dict[str, bytes]:
        """Every derived file, with what is in it."""
        found = [p for folder in (self.solutions, self.notebooks) if folder.exists() for p in folder.rglob("*")]
        return {p.relative_to(self.root).as_posix(): p.read_bytes() for p in found if p.is_file()}


def forget() -> None:
    catalogue.chapters.cache_clear()
    catalogue.by_name.cache_clear()
    for name in [name for name in sys.modules if name.startswith("autograder.exercises.ch9")]:
        del sys.modules[name]


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    made = Workshop(tmp_path)
    for name, folder in (("CHAPTERS", "chapters"), ("SOLUTIONS", "solutions"), ("NOTEBOOKS", "notebooks")):
        monkeypatch.setattr(paths, name, tmp_path / folder)
    monkeypatch.setattr(exercises, "__path__", [str(made.declarations)])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    forget()
    yield made
    forget()


@pytest.fixture
def small_course(workshop):
    """One exercise, one chapter."""
    workshop.exercise()
    workshop.chapter()
    return workshop


@pytest.fixture(scope="session")
def released_once(tmp_path_factory) -> Path:
    """A course of the first two chapters, as `attnlab course new` and `attnlab release` make it."""
    paths.put_own_tools_first()
    folder = newcourse.make(tmp_path_factory.mktemp("class") / "kurs für alle", "0-1").folder
    with Coursework(folder) as course:
        assert [r.error for r in releasing.release(course, course.sources())] == ["", ""]
    return folder


@pytest.fixture
def classroom(released_once, tmp_path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(released_once, tmp_path / "kurs"))
