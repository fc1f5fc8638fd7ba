"""Archives as learning platforms hand them over, and as an attacker would make them."""

import io
import json
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autograder import archives
from autograder.submission import SubmissionError
from course.command import app

HALFWAY = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {
            "cell_type": "code",
            "id": "a",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": "def halfway(a, b):\n    return (a + b) / 2",
        }
    ],
}
TEXT = json.dumps(HALFWAY).encode()


def zipped(path: Path, members: dict[str, bytes], links: tuple[str, ...] = ()) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
        for name in links:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            file.writestr(info, "/etc/passwd")
    return path


def tarred(path: Path, entries: list[tarfile.TarInfo], data: bytes = TEXT) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for entry in entries:
            entry.size = len(data) if entry.isfile() else 0
            file.addfile(entry, io.BytesIO(data) if entry.isfile() else None)
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def everything_below(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


@pytest.fixture
def place(tmp_path) -> Path:
    folder = tmp_path / "deep" / "place"
    folder.mkdir(parents=True)
    return folder


def test_notebooks_come_out_and_nothing_else(tmp_path, place):
    members = {
        "anna_123_01_softmax.ipynb": TEXT,
        "çelik/01_softmax.ipynb": TEXT,
        "__MACOSX/._01_softmax.ipynb": b"",
        "x/.ipynb_checkpoints/01_softmax-checkpoint.ipynb": TEXT,
        "torch.py": b"boom",
    }
    found = archives.unpack(zipped(tmp_path / "all.zip", members), place)
    assert list(found.notebooks) == ["anna_123_01_softmax.ipynb", "çelik/01_softmax.ipynb"]
    assert all(path.read_bytes() == TEXT for path in found.notebooks.values())
    assert found.refused == {}
    assert everything_below(place) == {"00000.ipynb", "00001.ipynb"}


OUTSIDE = [
    "../evil.ipynb",
    "a/../../evil.ipynb",
    "/tmp/evil.ipynb",
    "C:\\evil.ipynb",
    "..\\evil.ipynb",
    "\\\\host\\e.ipynb",
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_points_out_of_the_archive_is_refused(tmp_path, place, name, kind):
    before = everything_below(tmp_path)
    path = tmp_path / f"a.{'zip' if kind == 'zip' else 'tar.gz'}"
    if kind == "zip":
        zipped(path, {name: TEXT, "good.ipynb": TEXT})
    else:
        tarred(path, [entry(name), entry("good.ipynb")])
    found = archives.unpack(path, place)
    assert list(found.notebooks) == ["good.ipynb"]
    assert "its name points out of the archive; rename it." in found.refused[name]
    assert everything_below(tmp_path) == before | {path.name, "deep/place/00000.ipynb"}
    assert not Path("/tmp/evil.ipynb").exists()


def test_a_link_is_refused(tmp_path, place):
    found = archives.unpack(zipped(tmp_path / "a.zip", {}, links=("link.ipynb",)), place)
    assert "a link or a device" in found.refused["link.ipynb"]
    kinds = {
        "soft.ipynb": (tarfile.SYMTYPE, "/etc/passwd"),
        "hard.ipynb": (tarfile.LNKTYPE, "/etc/passwd"),
        "device.ipynb": (tarfile.CHRTYPE, ""),
        "pipe.ipynb": (tarfile.FIFOTYPE, ""),
    }
    found = archives.unpack(tarred(tmp_path / "a.tgz", [entry(n, *kind) for n, kind in kinds.items()]), place)
    assert set(found.refused) == set(kinds)
    assert everything_below(place) == set()


def test_a_bomb_is_bounded(tmp_path, place, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    found = archives.unpack(zipped(tmp_path / "a.zip", {"bomb.ipynb": b"0" * 10_000_000, "good.ipynb": TEXT}), place)
    assert list(found.notebooks) == ["good.ipynb"]
    assert "too large when unpacked" in found.refused["bomb.ipynb"]
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    with pytest.raises(SubmissionError, match="more than 3 files"):
        archives.unpack(zipped(tmp_path / "b.zip", {f"{n}.ipynb": TEXT for n in range(5)}), place)


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_what_is_no_archive_gets_one_sentence(tmp_path, place, name):
    (tmp_path / name).write_bytes(b"not an archive")
    with pytest.raises(SubmissionError, match="cannot be unpacked"):
        archives.unpack(tmp_path / name, place)


def test_a_damaged_file_in_an_archive_gets_one_sentence(tmp_path, place):
    path = zipped(tmp_path / "a.zip", {"a.ipynb": os.urandom(5000)})
    data = bytearray(path.read_bytes())
    data[100:200] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(SubmissionError, match="cannot be unpacked"):
        archives.unpack(path, place)


def test_an_archive_is_graded_and_the_rest_goes_on(tmp_path):
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK nonsense")
    good = zipped(tmp_path / "good.zip", {"anna.ipynb": TEXT, "../ben.ipynb": TEXT})
    result = CliRunner().invoke(app, ["grade", str(broken), str(good), "--seed", "7", "--json"])
    assert result.exit_code == 1
    rows = json.loads(result.stdout)
    assert [("error" in row) for row in rows] == [True, True, False]
    assert rows[2]["file"] == f"{good}, anna.ipynb"
    assert [e["points"] for e in rows[2]["exercises"]] == [3]
    assert set(tmp_path.iterdir()) == {broken, good}
