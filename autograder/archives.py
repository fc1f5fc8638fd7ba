"""Notebooks out of a zip or tar file that we do not trust.

Nothing is unpacked where its name says: each notebook is read from the archive, bounded, and written to a folder of
ours under a name made from its own. What is no plain file, or wants to lie elsewhere, is left out with a sentence.
"""

import contextlib
import os
import re
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from autograder.submission import MAX_BYTES, SubmissionError

SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
MAX_FILES = 20_000
MAX_TOTAL = 2 << 30  # bytes of all notebooks together


@dataclass
class Unpacked:
    """The notebooks of an archive, by their names in it, and a sentence for each that was left out."""

    notebooks: dict[str, Path] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass
class Member:
    """A file of an archive: its name as written there, whether it is a plain file, and how to read it."""

    name: str
    plain: bool
    stream: IO[bytes] | None
    modified: float | None = None


def is_notebook(name: str) -> bool:
    return name.lower().endswith(".ipynb")


def is_archive(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path, wanted: Callable[[str], bool] = is_notebook, most: int = MAX_TOTAL) -> Unpacked:
    """Copy the notebooks of an archive into ``folder``, or what else is ``wanted``, ``most`` bytes of them in all.

    ``SubmissionError`` where it is no archive.
    """
    found = Unpacked()
    total = 0
    try:
        for count, member in enumerate(_members(archive, wanted), 1):
            if count > MAX_FILES:
                raise SubmissionError(f"{archive}: more than {MAX_FILES} files; hand in notebooks only.")
            if why := _why_not(member):
                found.refused[member.name] = f"{archive}, {printable(member.name)}: {why}."
                continue
            data = member.stream.read(MAX_BYTES + 1) if member.stream else b""
            total += len(data)
            if len(data) > MAX_BYTES or total > most:
                found.refused[member.name] = f"{archive}, {printable(member.name)}: too large when unpacked."
                continue
            ending = next((e for e in SUFFIXES if member.name.lower().endswith(e)), ".ipynb")
            path = folder / f"{len(found.notebooks):05d}{ending}"
            path.write_bytes(data)
            if member.modified:
                with contextlib.suppress(OSError, OverflowError, ValueError):
                    os.utime(path, (member.modified, member.modified))
            found.notebooks[member.name] = path
    except (
        OSError,
        EOFError,
        RuntimeError,
        NotImplementedError,
        zlib.error,
        tarfile.TarError,
        zipfile.BadZipFile,
    ) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise SubmissionError(f"{archive}: cannot be unpacked ({printable(said)}); ask for it again.") from None
    return found


def printable(name: str) -> str:
    """A name as one line of text, whatever is in it."""
    return "".join(letter if letter.isprintable() else "�" for letter in name)[:200]


def _members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """What is wanted, and what pretends to be it. Folders and what systems leave behind are passed over."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                if _counts(info.filename, wanted):
                    kind = stat.S_IFMT(info.external_attr >> 16)
                    plain = not info.is_dir() and kind in (0, stat.S_IFREG)
                    if plain:
                        with file.open(info) as stream:
                            yield Member(info.filename, True, stream, _time_of(info))
                    else:
                        yield Member(info.filename, False, None)
    else:
        with tarfile.open(archive) as file:
            for entry in file:
                if _counts(entry.name, wanted):
                    content = file.extractfile(entry) if entry.isfile() else None
                    yield Member(entry.name, entry.isfile(), content, entry.mtime)


def _counts(name: str, wanted: Callable[[str], bool]) -> bool:
    parts = re.split(r"[/\\]", name)
    return wanted(parts[-1]) and not {".ipynb_checkpoints", "__MACOSX"} & set(parts)


def _time_of(info: zipfile.ZipInfo) -> float | None:
    """When a zip says that a file was changed, by the clock on the wall where it was made."""
    try:
        return time.mktime((*info.date_time, 0, 0, -1))
    except (OverflowError, ValueError):
        return None


def _why_not(member: Member) -> str:
    parts = re.split(r"[/\\]", member.name)
    if not member.plain:
        return "a link or a device, not a file; hand in the notebook itself"
    if ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:", member.name):
        return "its name points out of the archive; rename it"
    return ""
