"""The record of what checks found, and the map that is drawn from it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autograder import catalogue, check, notebook, record, road
from course import desk, paths
from course.command import app

EXERCISES = catalogue.by_name()
SOFTMAX = EXERCISES["softmax"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    path = tmp_path / "state" / "progress.jsonl"
    monkeypatch.setenv(record.SETTING, str(path))
    return path


def attnlab(*words: str):
    return CliRunner().invoke(app, list(words))


def test_a_check_leaves_its_points_and_no_line_of_code(place):
    check(named("softmax", SOFTMAX.alternatives[0]))
    (mark,) = record.read()
    assert (mark.exercise, mark.points, mark.of, mark.done) == ("softmax", 6.0, 6.0, True)
    assert set(json.loads(place.read_text())) == {"exercise", "points", "of", "laws", "at"}


def named(name, function):
    def answer(*args, **kwargs):
        return function(*args, **kwargs)

    answer.__name__ = name
    return answer


def test_what_is_not_written_yet_leaves_no_mark(place):
    def softmax(x, axis=-1):
        raise NotImplementedError()

    check(softmax)
    assert record.read() == [] and not place.exists()


def test_the_same_result_is_written_once_and_a_new_one_again(place):
    for points in (3, 3, 6, 6, 3):
        record.keep(SOFTMAX, points)
    assert [mark.points for mark in record.read()] == [3, 6, 3]


def test_what_was_done_stays_done(place):
    record.keep(SOFTMAX, 6)
    record.keep(SOFTMAX, 2)
    step = road.road().stretches[1].steps[0]
    assert step.state == "done" and step.points == 6


@pytest.mark.parametrize(
    "damage",
    [b"", b"\x00\xff\xfe", b'{"exercise": "softmax", "poi', b"[1]\nnull\n3\n", b'{"exercise": 1}', b"[" * 100_000],
    ids=["empty", "no text", "cut short", "other JSON", "lacking", "deep"],
)
def test_a_damaged_record_breaks_nothing_and_the_next_mark_is_kept(place, damage):
    place.parent.mkdir()
    place.write_bytes(damage)
    record.keep(SOFTMAX, 6)
    assert [mark.exercise for mark in record.read()] == ["softmax"]
    assert road.road().stretches[1].steps[0].state == "done"


@pytest.mark.parametrize("obstacle", ["a folder", "below a file", "a full disk"])
def test_a_record_that_cannot_be_written_breaks_no_check(tmp_path, monkeypatch, obstacle):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    where = {"a folder": tmp_path / "folder", "below a file": tmp_path / "file" / "p", "a full disk": "/dev/full"}
    monkeypatch.setenv(record.SETTING, str(where[obstacle]))
    assert "all 6 laws hold" in repr(check(named("softmax", SOFTMAX.alternatives[0])))
    assert "Nothing is ticked off yet" in repr(notebook.progress())


@pytest.mark.slow
def test_many_kernels_at_once_lose_no_mark(place):
    code = (
        "import sys; from autograder import catalogue, record\n"
        "for e in catalogue.by_name().values(): record.keep(e, int(sys.argv[1]) / 8)"
    )
    kernels = [subprocess.Popen([sys.executable, "-c", code, str(i)], env=environment(place)) for i in range(3)]
    assert [kernel.wait() for kernel in kernels] == [0, 0, 0]
    marks = {(mark.exercise, mark.points) for mark in record.read()}
    assert marks == {(name, i / 8) for name in EXERCISES for i in range(3)}


def environment(place):
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, (paths.LIBRARY, paths.ROOT))),
        record.SETTING: str(place),
    }


@pytest.mark.slow
def test_grading_and_building_leave_no_mark(place, tmp_path):
    from autograder.grading import grade
    from course import build

    source = "from autograder import check, check_all, progress\n" + "def halfway(a, b):\n    return (a + b) / 2\n"
    grading = grade([source, "check(halfway)\ncheck_all()\nprogress()"], [EXERCISES["halfway"]])
    assert grading.points == 3 and [cell["failure"] for cell in grading.cells] == ["", ""]
    chapter = build.select(["00_start"])[0]
    build.execute(build.solved_notebook(chapter), chapter, lambda name, stage: None)
    assert not place.exists()


# ------------------------------------------------------------------------------------------------------------ the map


def test_the_way_goes_on_where_it_was_left_then_back_to_what_was_left_out(place):
    assert names(road.road().next) == ("00_start", "halfway")
    record.keep(EXERCISES["log_softmax"], 1)
    assert names(road.road().next) == ("01_softmax", "softmax")
    for exercise in catalogue.of_chapter(1):
        record.keep(exercise, exercise.points)
    assert names(road.road().next)[0] == "02_weighted_averaging"
    last = max(catalogue.chapters())
    for exercise in catalogue.of_chapter(last):
        record.keep(exercise, exercise.points)
    assert names(road.road().next) == ("00_start", "halfway")
    for exercise in EXERCISES.values():
        record.keep(exercise, exercise.points)
    assert road.road().next is None
    assert "You have built all of it." in road.road().text()
    assert "Next:" not in road.road().page()


def names(found):
    return found[0].name, found[1].exercise.name


def test_an_exercise_that_asks_for_something_new_stays_done_and_says_so(place, monkeypatch):
    monkeypatch.setattr(record, "laws_of", lambda exercise: "before")
    record.keep(SOFTMAX, 6)
    monkeypatch.undo()
    monkeypatch.setenv(record.SETTING, str(place))
    assert road.road().stretches[1].steps[0].renewed
    assert "Renewed since you did them: `softmax`. They stay done" in road.road().text()
    record.keep(SOFTMAX, 6)
    assert not road.road().stretches[1].steps[0].renewed


def test_a_mark_of_an_exercise_that_is_gone_does_no_harm(place):
    place.parent.mkdir()
    place.write_text('{"exercise": "gone", "points": 1, "of": 1, "laws": "", "at": ""}\n')
    assert road.road().last == ""


def test_every_link_leads_to_a_notebook_and_the_next_one_to_where_one_goes_on(place):
    text = road.road().page("")
    links = re.findall(r'href="([^"#]+)(#[^"]*)?"', text)
    assert len(links) == 1 + len(catalogue.chapters())
    assert all((paths.NOTEBOOKS / path).is_file() for path, _ in links)
    assert links[0] == ("00_start/00_start.ipynb", ""), "who has not begun a chapter reads it from its head"
    record.keep(SOFTMAX, 6)
    ((path, place),) = re.findall(r'<b>Next:</b> <a href="([^"#]+)([^"]*)"', road.road().page(""))
    cells = json.loads((paths.NOTEBOOKS / path).read_text(encoding="utf-8"))["cells"]
    (cell,) = [cell for cell in cells if f"#cell-id={cell['id']}" == place]
    assert "### Exercise: `log_softmax`" in "".join(cell["source"])
    assert "<script" not in text and 'scope="row"' in text and "<a " not in road.road().page(None)


# -------------------------------------------------------------------------------------------------------- the command


def test_the_map_in_a_terminal_and_as_data(place):
    record.keep(SOFTMAX, 6)
    shown = attnlab("progress")
    assert shown.exit_code == 0
    assert (
        "Next: log_softmax in 1 · Softmax, about 10 minutes\n      notebooks/01_softmax/01_softmax.ipynb"
        in shown.output
    )
    assert "●○○○" in shown.output and str(place) in shown.output
    found = json.loads(attnlab("progress", "--json").stdout)
    assert found["next"] == {"exercise": "log_softmax", "notebook": "notebooks/01_softmax/01_softmax.ipynb"}
    (first,) = [e for c in found["chapters"] for e in c["exercises"] if e["exercise"] == "softmax"]
    assert (first["state"], first["points"], first["of"]) == ("done", 6, 6)


def test_an_exercise_a_chapter_and_everything_can_be_forgotten(place):
    for name in ("halfway", "softmax", "log_softmax", "gaussian_weights"):
        record.keep(EXERCISES[name], 1)
    assert "Forgotten: 1 exercise." in attnlab("progress", "--reset", "softmax").output
    assert "softmax" not in {mark.exercise for mark in record.read()}
    assert "Forgotten: 2 exercises." in attnlab("progress", "--reset", "1", "02_weighted_averaging").output
    assert {mark.exercise for mark in record.read()} == {"halfway"}
    assert attnlab("progress", "--reset").exit_code == 0
    assert not place.exists() and attnlab("progress", "--reset").exit_code == 0
    for words, said in (
        (["--reset", "nonsense"], "nonsense: neither an exercise nor a chapter"),
        (["softmax"], "`python lab.py progress --reset softmax` forgets this one"),
    ):
        shown = attnlab("progress", *words)
        assert shown.exit_code == 2 and said in shown.output


def test_without_a_record_the_command_says_so(monkeypatch):
    monkeypatch.setenv(record.SETTING, "")
    assert "No record is kept here, for ATTNLAB_PROGRESS is set to nothing." in attnlab("progress").output


# ------------------------------------------------------------------------------------------------------ the start page


def test_the_start_page_is_made_anew_and_the_tour_stands_in_where_it_cannot_be(place, tmp_path):
    page = desk.start_page(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "**Welcome.**" in text and "[Start here](00_start/00_start.ipynb)" in text
    record.keep(EXERCISES["halfway"], 3)
    again = desk.start_page(tmp_path).read_text(encoding="utf-8")
    assert (
        "Welcome back." in again and "Run All Above Selected Cell" in again and ">softmax</a> in 1 · Softmax" in again
    )
    assert desk.start_page(tmp_path / "nowhere") == tmp_path / "nowhere" / "00_start" / "00_start.ipynb"


def test_ctrl_c_lets_jupyterlab_close_its_kernels_and_waits_for_it(monkeypatch, tmp_path):
    class Lab:
        """Hears Ctrl-C twice, as its parent does, and then ends."""

        def __init__(self, words, env, cwd):
            self.left = [KeyboardInterrupt, KeyboardInterrupt, 0]
            assert "--ServerApp.answer_yes=True" in words, "else it asks, and nobody is there to answer"

        def wait(self):
            came = self.left.pop(0)
            if came is KeyboardInterrupt:
                raise came
            return came

    monkeypatch.setattr(desk.subprocess, "Popen", Lab)
    assert desk.open_lab(paths.derived(paths.NOTEBOOKS, desk.START), False, 8888) == 0


def test_jupyterlab_keeps_its_tabs_in_the_courses_folder_and_prints_the_address_alone():
    words = desk.command(paths.NOTEBOOKS / "START.md", browser=False, port=8888)
    (tabs,) = (word.partition("=")[2] for word in words if "workspaces_dir" in word)
    assert Path(tabs).is_relative_to(paths.STATE)
    assert "--ServerApp.log_level=WARN" in words and "--LabApp.log_level=WARN" in words


def test_the_first_check_is_less_than_two_minutes_of_reading_away():
    cells = json.loads(paths.derived(paths.NOTEBOOKS, desk.START).read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    first = next(i for i, text in enumerate(texts) if text.endswith("check(halfway)"))
    prose = [text for text, cell in zip(texts[:first], cells, strict=False) if cell["cell_type"] == "markdown"]
    read = re.sub(r"<details>.*?</details>", "", " ".join(prose), flags=re.DOTALL)
    assert len(read.split()) < 400, "at 200 words a minute"
