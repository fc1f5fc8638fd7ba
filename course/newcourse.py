"""A course of an instructor's own, made from chapters of this repository: a folder that nbgrader works in."""

import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from autograder.coursework import CONFIGURATION, STUDENTS
from autograder.roster import COLUMNS
from course import paths

SEED = "seed.txt"
SETTINGS = '''"""The settings of this course: take away a # to use a line. More: https://nbgrader.readthedocs.io"""

from pathlib import Path

from autograder.nbgrader import configure

here = Path(__file__).resolve().parent
c = get_config()
# The inputs of the checks are drawn from this seed. Whoever knows it could learn the answers by heart.
configure(c, seed=int((here / "seed.txt").read_text(encoding="utf-8")))
c.CourseDirectory.root = str(here)
c.CourseDirectory.course_id = {name!r}

# Late work costs nothing, unless you say so: all of its points ...
# c.LateSubmissionPlugin.penalty_method = "zero"
# ... or a share of them for each day that has begun, after some minutes of grace.
# c.AssignLatePenalties.plugin_class = "autograder.late.PerDay"
# c.PerDay.percent = 10
# c.PerDay.grace_minutes = 15

# Grades go into gradebook.db in this folder. For PostgreSQL, with one database a course:
# c.CourseDirectory.db_url = "postgresql+psycopg://user@host/attention"

# nbgrader's exchange, on a shared machine or a JupyterHub: a folder that everybody may write in.
# c.Exchange.root = "/srv/nbgrader/exchange"
'''
IGNORED = f"""# What is secret, and what is about people: keep it out of every repository that others can read.
{SEED}
{STUDENTS}
gradebook.db*
submitted/
autograded/
feedback/
report*.html
exports/
*.zip
.attnlab/
.ipynb_checkpoints/
"""


class CourseError(Exception):
    """A course cannot be made as asked. The message says why and what to do."""


@dataclass(frozen=True)
class Made:
    """A new course."""

    folder: Path
    assignments: list[str]


def make(folder: Path, chapters: str = "", name: str = "", seed: int | None = None) -> Made:
    """Make a course in a folder that is not there yet or is empty; its seed is drawn where none is given."""
    folder = folder.expanduser().resolve()
    if folder.exists() and not folder.is_dir():
        raise CourseError(f"{folder}: is a file; name a folder that is not there yet")
    if folder.exists() and any(folder.iterdir()):
        raise CourseError(f"{folder}: is there already and is not empty; name another folder, nothing was changed")
    chosen = select(chapters)
    course_id = name or re.sub(r"\W+", "-", folder.name).strip("-") or "attention"
    if not re.fullmatch(r"[\w.-]+", course_id):
        raise CourseError(f"--name {name!r}: is part of file names; take letters, digits, points and hyphens only")
    new = folder.with_name(f".{folder.name}.new")  # whole, or not at all
    try:
        shutil.rmtree(new, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        new.mkdir(mode=0o700)  # on a shared machine the solutions are nobody else's to read
        for assignment in chosen:
            shutil.copytree(
                paths.SOLUTIONS / assignment,
                new / "solutions" / assignment,
                ignore=shutil.ignore_patterns(".ipynb_checkpoints", "*.mine-*"),
            )
        (new / CONFIGURATION).write_text(SETTINGS.format(name=course_id), encoding="utf-8")
        (new / STUDENTS).write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
        (new / ".gitignore").write_text(IGNORED, encoding="utf-8")
        write_secret(new / SEED, str(secrets.randbits(63) if seed is None else seed))
        if folder.exists():
            folder.rmdir()
        os.replace(new, folder)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise CourseError(
            f"{folder}: cannot be made ({error.strerror}); choose a folder that you may write in"
        ) from None
    return Made(folder, chosen)


def select(chapters: str) -> list[str]:
    """Names of solved chapters: all of them, or those of ``1-5``, ``1,3,7``, ``01_softmax``."""
    there = sorted(path.name for path in paths.SOLUTIONS.iterdir() if (path / f"{path.name}.ipynb").is_file())
    if not chapters.strip():
        return there
    chosen: list[str] = []
    for part in re.split(r"[,\s]+", chapters.strip()):
        span = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if span:
            first, last = int(span[1]), int(span[2] or span[1])
            found = [name for name in there if first <= int(name[:2]) <= last]
        else:
            found = [name for name in there if name == part]
        if not found:
            numbers = ", ".join(str(int(name[:2])) for name in there)
            raise CourseError(f"--chapters {part}: there is no such chapter; there are {numbers}")
        chosen += found
    return sorted(set(chosen))


def write_secret(path: Path, text: str) -> None:
    """A new file that only its owner may read, where the system knows owners of files."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
