"""What students hand in, for the tests of a class, and the command as an instructor types it."""

import json
import zipfile
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from course import paths
from course.command import app

RIGHT = "(a + b) / 2"
WRONG = "(a + b) // 2 if isinstance(a, int) else (a + b) / 2"  # loses the fraction: 2 points of 3
SOFTMAX = "e = np.exp(x - x.max(axis=axis, keepdims=True))\n    return e / e.sum(axis=axis, keepdims=True)"


def attnlab(*words: str | Path, course: Path | None = None) -> Result:
    """Run the command; ``--course`` comes from the argument."""
    paths.put_own_tools_first()  # as the command itself does
    given = [str(word) for word in words] + (["--course", str(course)] if course else [])
    return CliRunner().invoke(app, given, catch_exceptions=False)


def released(chapter: str) -> dict:
    return json.loads(paths.derived(paths.NOTEBOOKS, chapter).read_text(encoding="utf-8"))


def start(answer: str = RIGHT) -> bytes:
    """The first chapter with an answer in it."""
    return _with(released("00_start"), "halfway", f"def halfway(a, b):\n    return {answer}")


def softmax(body: str = SOFTMAX) -> bytes:
    return _with(released("01_softmax"), "softmax", f"def softmax(x, axis=-1):\n    {body}")


def _with(notebook: dict, name: str, source: str) -> bytes:
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == f"{name}_answer":
            cell["source"] = source
    return json.dumps(notebook).encode()


def zipped(path: Path, files: dict[str, bytes | str], when: tuple[int, ...] = (2026, 11, 20, 12, 0, 0)) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, when), data)
    return path


def enrol(course: Path, *rows: str) -> None:
    path = course / "students.csv"
    path.write_text("id,first_name,last_name,email,lms_user_id\n" + "".join(f"{row}\n" for row in rows), "utf-8")


CLASS = (
    "anna,Anna Maria,Berg,anna@example.org,1001",
    "ben,Ben,O'Neill,ben@example.org,1002",
    "çelik,Ayşe,Çelik,celik@example.org,1003",
    "dora,Dora,Dorn,,",
)
