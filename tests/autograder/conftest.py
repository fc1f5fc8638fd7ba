"""One zygote for all tests of a run, and a course to grade in."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from classes import CONFIG, NAME, lab, nbgrader

from autograder import host

LINUX = sys.platform == "linux"


@pytest.fixture(scope="module")
def where() -> host.Host:
    """The host of this process, with the strongest isolation there is. A module before may have ended the last one."""
    return host.shared()


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """A course in which nbgrader has generated the assignment."""
    course = tmp_path_factory.mktemp("course")
    (course / "nbgrader_config.py").write_text(CONFIG)
    (course / "solutions" / NAME).mkdir(parents=True)
    (course / "solutions" / NAME / f"{NAME}.ipynb").write_text(json.dumps(lab({})))
    nbgrader(course, "generate_assignment", NAME)
    return course


@pytest.fixture
def course(template, tmp_path) -> Path:
    subprocess.run(["cp", "-r", f"{template}/.", str(tmp_path)], check=True)
    return tmp_path
