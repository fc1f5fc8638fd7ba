"""`attnlab collect`: what platforms and people hand over, into a real course."""

import io
import json
import os
import shutil
import sys
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
from handed import CLASS, RIGHT, WRONG, attnlab, enrol, softmax, start, zipped
from nbgrader.api import Gradebook

from autograder import archives, catalogue, handins
from autograder.classroom import timestamp_in


@pytest.fixture
def course(classroom) -> Path:
    enrol(classroom, *CLASS)
    with Gradebook(f"sqlite:///{classroom / 'gradebook.db'}") as book:
        book.update_or_create_assignment("00_start", duedate=datetime(2026, 11, 20, 18))
    return classroom


def handed(course: Path) -> dict[str, bytes]:
    """What lies in the submitted directory."""
    base = course / "submitted"
    return {p.relative_to(base).as_posix(): p.read_bytes() for p in base.rglob("*") if p.is_file()}


def place(student: str, chapter: str = "00_start") -> str:
    return f"{student}/{chapter}/{chapter}.ipynb"


def both(course: Path, *words) -> tuple[int, dict]:
    """Collect, and give the status and what is told."""
    done = attnlab("collect", *words, "--json", course=course)
    return done.exit_code, json.loads(done.stdout)


# --------------------------------------------------------------------------------------------------------- platforms


def test_canvas(course, tmp_path):
    """Renamed files, a resubmission, a late mark, a text entry, somebody unknown, a hidden name."""
    file = zipped(
        tmp_path / "submissions.zip",
        {
            "berganna_1001_501_00_start.ipynb": start(WRONG),
            "berganna_1001_777_00_start-1.ipynb": start(),
            "oneillben_LATE_1002_502_my homework.ipynb": start(),
            "celikayse_9999_503_Untitled3.ipynb": softmax(),
            "dorndora_1004_504_text.html": "<p>hello</p>",
            "nobodynina_1009_505_00_start.ipynb": start(),
            "anon_AbC12_506_00_start.ipynb": start(),
        },
    )
    status, came = both(course, file)
    assert status == 1
    assert handed(course) == {
        place("anna"): start(),
        place("ben"): start(),
        "ben/00_start/timestamp.txt": b"2026-11-20 18:00:01.000000 UTC",
        place("çelik", "01_softmax"): softmax(),
    }
    assert {(p["student"], p["assignment"], p["late"]) for p in came["placed"]} == {
        ("anna", "00_start", False), ("ben", "00_start", True), ("çelik", "01_softmax", False),
    }  # fmt: skip
    assert came["told"] == [
        "anna, 00_start: came more than once; berganna_1001_777_00_start-1.ipynb counts, as the later one, "
        "and berganna_1001_501_00_start.ipynb does not."
    ]
    assert [sentence.split(": ")[0] for sentence in came["not_placed"]] == [
        "nobodynina_1009_505_00_start.ipynb", "anon_AbC12_506_00_start.ipynb",
    ]  # fmt: skip
    assert "nobodynina, user 1009 is not in students.csv; add them there, or give --create" in came["not_placed"][0]


@pytest.mark.parametrize("ending", ["_assignsubmission_file_/", "_assignsubmission_file/", "_assignsubmission_file_"])
def test_moodle_old_and_new_with_folders_and_without(course, tmp_path, ending):
    file = zipped(
        tmp_path / "Kurs-Abgabe.zip",
        {f"Anna Maria Berg_4321{ending}x.ipynb": start(), f"Çelik Ayşe_99{ending}01_softmax (2).ipynb": softmax()},
    )
    status, came = both(course, file)
    assert (status, came["not_placed"]) == (0, [])
    assert handed(course) == {place("anna"): start(), place("çelik", "01_softmax"): softmax()}


def test_moodle_with_hidden_names_needs_the_worksheet(course, tmp_path):
    file = zipped(tmp_path / "abgabe.zip", {"Participant_4321_assignsubmission_file_/a.ipynb": start()})
    status, came = both(course, file)
    assert status == 1 and "--worksheet" in came["not_placed"][0]
    sheet = tmp_path / "Grades.csv"
    sheet.write_text("Identifier,Full name,Email address,Status\nParticipant 4321,X,ben@example.org,Submitted\n")
    assert both(course, file, "--worksheet", sheet)[0] == 0
    assert handed(course) == {place("ben"): start()}
    sheet.write_text("a,b\n1,2\n")
    done = attnlab("collect", file, "--worksheet", sheet, course=course)
    assert done.exit_code == 2 and "is no grading worksheet of Moodle's" in done.stderr


METADATA = """
submission_11:
  :submitters:
  - :name: Anna Maria Berg
    :sid: anna
    :email: anna@example.org
  - :name: B. O'Neill
    :sid: 'zzz'
    :email: ben@example.org
  :created_at: 2026-11-20 18:30:00.123456000 Z
  :score: !ruby/object:BigDecimal 18:0.0
  :history: []
submission_12:
  :submitters:
  - :name: Ayşe Çelik
  :created_at: 2026-11-20 10:00:00.5 -07:00
submission_13:
  :submitters: []
  :created_at: null
"""


def test_gradescope_with_groups_and_times(course, tmp_path):
    root = "assignment_77_export"
    file = zipped(
        tmp_path / "export.zip",
        {
            f"{root}/submission_metadata.yml": METADATA,
            f"{root}/submission_11/nb.ipynb": start(),
            f"{root}/submission_12/nb.ipynb": start(WRONG),
            f"{root}/submission_13/nb.ipynb": start(),
        },
    )
    status, came = both(course, file)
    assert status == 1
    assert came["not_placed"] == [f"{root}/submission_13/nb.ipynb: Gradescope does not say who handed it in."]
    assert {name: data for name, data in handed(course).items() if name.endswith(".ipynb")} == {
        place("anna"): start(), place("ben"): start(), place("çelik"): start(WRONG),
    }  # fmt: skip
    assert {p["student"]: p["late"] for p in came["placed"]} == {"anna": True, "ben": True, "çelik": False}
    assert timestamp_in(course / "submitted" / "anna" / "00_start") == datetime(2026, 11, 20, 18, 30, 0, 123456)
    assert timestamp_in(course / "submitted" / "çelik" / "00_start") == datetime(2026, 11, 20, 17, 0, 0, 500000)


def test_gradescopes_record_can_be_broken(course, tmp_path):
    file = zipped(tmp_path / "e.zip", {"x/submission_metadata.yml": ":a: [", "x/submission_1/anna.ipynb": start()})
    status, came = both(course, file)
    assert status == 1 and "Gradescope's record cannot be read" in came["not_placed"][0]
    assert handed(course) == {place("anna"): start()}, "its name says whose it is"


def test_a_folder_as_nbgrader_has_it_with_its_times(course, tmp_path):
    path = tmp_path / "in" / "ben" / "00_start" / "00_start.ipynb"
    path.parent.mkdir(parents=True)
    path.write_bytes(start())
    (path.parent / "timestamp.txt").write_text("2026-11-21 08:00:00 UTC")
    status, came = both(course, tmp_path / "in")
    assert status == 0 and came["placed"][0]["late"]
    assert timestamp_in(course / "submitted" / "ben" / "00_start") == datetime(2026, 11, 21, 8)


@pytest.mark.parametrize(
    "name",
    [
        "anna.ipynb",
        "anna_00_start.ipynb",
        "00_start-anna.ipynb",
        "00_start (anna).ipynb",
        "anna_00_start-Copy1.ipynb",
        "00_START Anna Maria Berg (3).ipynb",
        "anna@example.org/final.ipynb",
        "Berg, Anna Maria/Untitled.ipynb",
        "week 1/anna/00_start/00_start.ipynb",
        "anna/homework.zip",
        "berganna_1001_501_homework.zip",
    ],
)
def test_people_name_files_as_they_like(course, tmp_path, name):
    data = start()
    if name.endswith(".zip"):
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as archive:
            archive.writestr("some folder/Untitled.ipynb", data)
        data = inner.getvalue()
    file = zipped(tmp_path / "all.zip", {name: data})
    folder = tmp_path / "folder"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(data)
    for given in (file, folder):
        assert both(course, given)[0] == 0
        assert handed(course) == {place("anna"): start()}


def test_one_notebook_can_be_given_by_itself(course, tmp_path):
    path = tmp_path / "ben_00_start.ipynb"
    path.write_bytes(start())
    assert both(course, path)[0] == 0
    assert handed(course) == {place("ben"): start()}


# --------------------------------------------------------------------------------------------------- what it may not do


def test_a_second_run_changes_nothing(course, tmp_path):
    file = zipped(tmp_path / "a.zip", {"x_1001_501_a.ipynb": start(), "x_1002_502_a.ipynb": start(WRONG)})
    both(course, file)
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (course / "submitted").rglob("*") if p.is_file()}
    status, came = both(course, file)
    assert (status, {p["became"] for p in came["placed"]}) == (0, {"unchanged"})
    assert before == {
        p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (course / "submitted").rglob("*") if p.is_file()
    }


def test_only_a_later_one_replaces(course, tmp_path):
    old = zipped(tmp_path / "old.zip", {"x_1001_501_a.ipynb": start(WRONG)})
    new = zipped(tmp_path / "new.zip", {"x_1001_777_a-1.ipynb": start()})
    both(course, old)
    assert [p["became"] for p in both(course, new)[1]["placed"]] == ["replaced"]
    graded = course / "autograded" / "anna" / "00_start" / "00_start.ipynb"
    graded.parent.mkdir(parents=True)
    graded.touch()
    status, came = both(course, old)
    assert status == 0
    assert [(p["became"], p["note"]) for p in came["placed"]] == [("older", "what is there came later, and stays")]
    assert handed(course) == {place("anna"): start()}
    assert graded.exists(), "what was graded stays graded"
    both(course, zipped(tmp_path / "newest.zip", {"x_1001_778_a-2.ipynb": start("a")}))
    assert not graded.exists(), "and is graded again when a later one came"


@pytest.mark.parametrize(
    ("second", "became"), [("2026-11-20 12:00:01 UTC", "replaced"), ("2026-11-20 11:00 UTC", "older")]
)
def test_times_decide_where_there_are_some(course, tmp_path, second, became):
    for index, (answer, when) in enumerate([(WRONG, "2026-11-20 12:00 UTC"), (RIGHT, second)]):
        folder = tmp_path / str(index) / "ben" / "00_start"
        folder.mkdir(parents=True)
        (folder / "00_start.ipynb").write_bytes(start(answer))
        (folder / "timestamp.txt").write_text(when)
        status, came = both(course, tmp_path / str(index))
        assert status == 0
    assert came["placed"][0]["became"] == became
    assert handed(course)[place("ben")] == start(RIGHT if became == "replaced" else WRONG)


def test_moodles_later_download_replaces_an_earlier_one(course, tmp_path):
    name = "Anna Maria Berg_4321_assignsubmission_file_/x.ipynb"
    for answer, hour in ((WRONG, 9), (RIGHT, 10), (WRONG, 9)):
        both(course, zipped(tmp_path / "m.zip", {name: start(answer)}, (2026, 11, 20, hour, 0, 0)))
    assert handed(course) == {place("anna"): start(RIGHT)}


def test_where_nothing_tells_which_is_later_nothing_is_overwritten(course, tmp_path):
    path = course / "submitted" / "anna" / "00_start" / "00_start.ipynb"
    path.parent.mkdir(parents=True)
    path.write_bytes(start(WRONG))
    status, came = both(course, zipped(tmp_path / "a.zip", {"x_1001_501_a.ipynb": start()}))
    assert status == 1
    assert (
        "differs from submitted/anna/00_start/00_start.ipynb, and nothing says which is later" in came["not_placed"][0]
    )
    assert path.read_bytes() == start(WRONG)


def test_unknown_people_are_added_on_request_only(course, tmp_path):
    file = zipped(
        tmp_path / "a.zip",
        {
            "Nina Ohm_77_assignsubmission_file_/x.ipynb": start(),
            "novaknina_1009_505_00_start.ipynb": start(),
            "zoe/final.ipynb": start(),
            "con/final.ipynb": start(),
        },
    )
    status, came = both(course, file)
    assert status == 1 and len(came["not_placed"]) == 4 and not handed(course)
    status, came = both(course, file, "--create")
    assert (status, came["not_placed"]) == (0, [])
    assert set(handed(course)) == {place(name) for name in ("nina-ohm", "novaknina", "zoe", "con-student")}
    assert (course / "students.csv").read_text(encoding="utf-8").splitlines()[-4:] == [
        "nina-ohm,Nina,Ohm,,", "novaknina,,novaknina,,1009", "zoe,,zoe,,", "con-student,,con,,",
    ]  # fmt: skip
    assert both(course, file)[0] == 0, "and are known from then on"


def test_a_name_that_two_have_is_not_guessed(course, tmp_path):
    enrol(course, *CLASS, "a2,Anna Maria,Berg,,")
    file = zipped(tmp_path / "a.zip", {"Anna Maria Berg_1_assignsubmission_file_/x.ipynb": start()})
    status, came = both(course, file)
    assert status == 1 and "may be from anna or a2" in came["not_placed"][0] and not handed(course)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        (
            "anna/x.ipynb",
            b'{"cells": [], "nbformat": 4}',
            "has no exercise of this course in it; is it the right file?",
        ),
        ("anna/x.ipynb", b"no json", "not a notebook, for it is not JSON"),
        ("01_softmax.ipynb", softmax(), "its name does not say whose it is; put the student's id into it"),
        ("../../anna/x.ipynb", start(), "its name points out of the archive"),
        ("/etc/anna.ipynb", start(), "its name points out of the archive"),
        ("C:\\anna.ipynb", start(), "its name points out of the archive"),
        ("<b>x</b>/00_start.ipynb", start(), "is not in students.csv"),
    ],
)
def test_what_cannot_be_placed_is_told_with_the_reason(course, tmp_path, name, data, said):
    status, came = both(course, zipped(tmp_path / "a.zip", {name: data}))
    assert status == 1
    (sentence,) = came["not_placed"]
    assert said in sentence and handed(course) == {}


def test_a_broken_notebook_with_the_right_name_is_placed_for_grading_says_so(course, tmp_path):
    status, _ = both(course, zipped(tmp_path / "a.zip", {"anna/00_start.ipynb": b"{"}))
    assert status == 0 and handed(course) == {place("anna"): b"{"}


def test_a_chapter_that_was_not_released_is_told(course, tmp_path):
    notebook = json.dumps(
        {"cells": [{"cell_type": "code", "source": f"def {catalogue.of_chapter(2)[0].name}(): ..."}], "nbformat": 4}
    )
    status, came = both(course, zipped(tmp_path / "a.zip", {"anna.ipynb": notebook}))
    assert status == 1
    assert (
        "has exercises of chapter 2, which the gradebook does not know; run: attnlab release" in came["not_placed"][0]
    )


def test_an_id_that_is_markup_is_not_created(course, tmp_path):
    status, came = both(course, zipped(tmp_path / "a.zip", {"<b>eve</b>.ipynb": start()}), "--create")
    assert status == 0 or "is no student id" in came["not_placed"][0]
    assert all("<" not in name for name in handed(course))


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_are_not_followed(course, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.ipynb").write_bytes(start())
    (folder / "anna.ipynb").symlink_to(tmp_path / "secret.ipynb")
    status, came = both(course, folder)
    assert status == 1 and "a link, not a file" in came["not_placed"][0]
    outside = tmp_path / "outside"
    outside.mkdir()
    (course / "submitted").mkdir()
    (course / "submitted" / "anna").symlink_to(outside)
    status, came = both(course, zipped(tmp_path / "a.zip", {"anna.ipynb": start()}))
    assert status == 1 and "is a link; take it away" in came["not_placed"][0]
    assert list(outside.iterdir()) == []


def test_archives_in_an_archive_share_one_limit(tmp_path, monkeypatch):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.ipynb", b" " * 60_000)
    file = zipped(tmp_path / "bomb.zip", {f"{n}/{n}.zip": inner.getvalue() for n in range(5)})
    monkeypatch.setattr(archives, "MAX_TOTAL", 130_000)
    place = tmp_path / "place"
    place.mkdir()
    came = handins.Inbox(place).read(file)
    assert len(came.handins) == 2 and len(came.refused) == 3
    assert all("too large when unpacked" in sentence for sentence in came.refused)
    deep = io.BytesIO()
    with zipfile.ZipFile(deep, "w") as archive:
        archive.writestr("inner.zip", inner.getvalue())
    (tmp_path / "again").mkdir()
    came = handins.Inbox(tmp_path / "again").read(zipped(tmp_path / "deep.zip", {"a.zip": deep.getvalue()}))
    assert came.handins == [], "one level deep, and no deeper"


def test_an_archive_that_is_none_is_told(course, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK nonsense")
    status, came = both(course, tmp_path / "a.zip")
    assert status == 1 and "a.zip: cannot be unpacked" in came["not_placed"][0]


@pytest.mark.parametrize(
    ("name", "said"),
    [("none.zip", "there is no such file or folder"), ("a.pdf", "is no notebook, no folder and no archive")],
)
def test_what_is_nothing_to_collect_is_told(course, tmp_path, name, said):
    (tmp_path / "a.pdf").touch()
    done = attnlab("collect", tmp_path / name, course=course)
    assert done.exit_code == 2 and said in done.stderr


def test_the_summary_counts(course, tmp_path):
    file = zipped(
        tmp_path / "a.zip",
        {"x_LATE_1001_501_a.ipynb": start(), "x_1002_502_a.ipynb": start(), "x_5_503_a.ipynb": start()},
    )
    done = attnlab("collect", file, course=course)
    assert done.exit_code == 1
    assert "2 new, 1 of them late, 1 could not be placed." in done.stdout
    assert "✗ x_5_503_a.ipynb: x, user 5 is not in students.csv" in done.stderr


def test_a_late_mark_without_a_due_date_is_told_and_counts_once_there_is_one(course, tmp_path):
    file = zipped(tmp_path / "a.zip", {"x_LATE_1001_501_a.ipynb": softmax()})
    (told,) = both(course, file)[1]["told"]
    assert "is marked late, but 01_softmax has no due date" in told
    assert attnlab("release", "01_softmax", "--due", "2026-11-20 18:00Z", course=course).exit_code == 0
    came = both(course, file)[1]
    assert came["told"] == [] and [p["became"] for p in came["placed"]] == ["unchanged"]
    assert timestamp_in(course / "submitted" / "anna" / "01_softmax") == datetime(2026, 11, 20, 18, 0, 1)


# ---------------------------------------------------------------------------------------------------------- exchange


@pytest.mark.skipif(sys.platform == "win32", reason="nbgrader's exchange needs Linux or macOS")
def test_the_exchange(course, tmp_path):
    """Released, handed in under another name and by nbgrader's layout, collected, and a second time later."""
    shared = tmp_path / "exchange"
    shared.mkdir()
    shared.chmod(0o777)
    with (course / "nbgrader_config.py").open("a") as file:
        file.write(f"\nc.Exchange.root = {str(shared)!r}\n")
    assert attnlab("release", "--exchange", course=course).exit_code == 0
    inbound = shared / "kurs-für-alle" / "inbound"

    def hand_in(name: str, answer: str, when: str) -> None:
        folder = inbound / f"anna+00_start+{when} UTC+abc"
        folder.mkdir()
        (folder / name).write_bytes(start(answer))
        (folder / "timestamp.txt").write_text(f"{when} UTC")

    hand_in("my copy.ipynb", WRONG, "2026-11-20 10:00:00")
    done = attnlab("collect", course=course)
    assert done.exit_code == 0, done.output
    assert "submitted/anna/00_start/my copy.ipynb: is graded as 00_start.ipynb." in done.stdout
    assert handed(course)[place("anna")] == start(WRONG)
    hand_in("00_start.ipynb", RIGHT, "2026-11-20 11:00:00")
    attnlab("collect", course=course)
    assert handed(course)[place("anna")] == start(RIGHT)
    shutil.rmtree(shared)
    done = attnlab("collect", course=course)
    assert done.exit_code == 2 and "the exchange does not give it" in done.stderr


def test_before_a_release_there_is_nothing_to_collect_for(tmp_path):
    attnlab("course", "new", tmp_path / "c", "--chapters", "0")
    done = attnlab("collect", tmp_path, course=tmp_path / "c")
    assert done.exit_code == 2 and "run: attnlab release" in done.stderr


def test_a_second_of_a_zip_is_a_time_and_nonsense_is_none(tmp_path):
    place = tmp_path / "p"
    place.mkdir()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("a.ipynb", (2026, 11, 20, 12, 0, 0))
        archive.writestr(info, start())
    (path,) = archives.unpack(tmp_path / "a.zip", place).notebooks.values()
    assert datetime.fromtimestamp(os.stat(path).st_mtime) == datetime(2026, 11, 20, 12)
