"""The newest course, with what the learner has written in this one.

Git brings the course. Notebooks that both have changed are put aside first, under ``.attnlab/answers-N/``, and put
together by cells afterwards. An update that was killed in between is taken up by the next: the copies are still there.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from autograder import catalogue, original
from autograder.submission import SubmissionError
from course.carrying import Carried, Json, carry, same

BEGUN = "answers-of-an-update"  # the folder of copies, until all of them are carried over


class CannotUpdate(Exception):
    """The course stays as it was. The message says why, and what to do, in a sentence."""


@dataclass
class Update:
    """What an update did: by the path of each notebook what was carried over, or why it could not be."""

    commits: int = 0
    carried: dict[str, Carried] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    copies: Path | None = None  # of the notebooks as they were

    @property
    def nothing_new(self) -> bool:
        return not (self.commits or self.carried or self.refused)


# -------------------------------------------------------------------------------------------------------- from git


def update(course: Path) -> Update:
    """Fetch the course that this is a clone of, and put the learner's notebooks together with it."""
    git, copies = Git(course), course / ".attnlab" / BEGUN
    git.must_be_able()
    if copies.is_dir() and (taken_up := _take_up(git, copies)):
        return taken_up
    git("fetch", "--quiet")
    newest = git("rev-parse", "@{upstream}")
    base = git("merge-base", "HEAD", newest)
    if base == newest:
        return Update()
    catalogue.by_name()  # now, while the exercises are those that this program knows: git changes their files
    names = _put_aside(copies, course, git.changed_by_both(base, newest), (base, newest))
    try:
        git.merge(newest, names)
    except CannotUpdate:  # then nothing is merged
        for name in names:
            _copy(copies / name, course / name)
        shutil.rmtree(copies)
        raise
    return _put_all_together(git, copies)


def _take_up(git: "Git", copies: Path) -> Update | None:
    """Go on with an update that was killed: to its end if the course is merged, back to its beginning if not."""
    _, newest = _commits(copies)
    if git.holds(newest):
        return _put_all_together(git, copies)
    for name in _names(copies):
        if _untouched(git.course / name, git.notebook("HEAD", name)):
            _copy(copies / name, git.course / name)
    _finish(copies)
    return None


def _put_all_together(git: "Git", copies: Path) -> Update:
    base, newest = _commits(copies)
    done = Update(commits=int(git("rev-list", "--count", f"{base}..{newest}")))
    for name in _names(copies):
        was, newer, place = git.notebook(base, name), git.notebook(newest, name), git.course / name
        try:
            if was is None or newer is None:
                raise SubmissionError("the course has this chapter no more; your notebook stays")
            carried = carry(copies / name, was, newer)
        except SubmissionError as error:
            done.refused[name] = _reason(error, copies / name)
            if not place.exists() or _untouched(place, git.notebook("HEAD", name)):
                _copy(copies / name, place)
            continue
        if _untouched(place, git.notebook("HEAD", name), carried.notebook):
            _write(place, carried.dumps().encode())
            done.carried[name] = carried
        else:
            done.refused[name] = "an update was interrupted, and you have worked on it since; it stays as it is"
    done.copies = _finish(copies)
    return done


class Git:
    """The course's repository, by the `git` command."""

    def __init__(self, course: Path):
        self.course = course

    def __call__(self, *words: str) -> str:
        done = self._run(*words)
        if done.returncode:
            raise CannotUpdate(f"`git {words[0]}` did not succeed: {_last(done)}")
        return done.stdout.strip("\n")

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        command = ["git", "-c", "core.quotepath=off", *words]
        try:
            return subprocess.run(
                command, cwd=self.course, env=environment, capture_output=True, text=True, encoding="utf-8"
            )
        except FileNotFoundError:
            raise CannotUpdate("git is not installed here; https://git-scm.com has it") from None

    def _says(self, *words: str) -> bool:
        return self._run(*words).returncode == 0

    def must_be_able(self) -> None:
        """``CannotUpdate`` where this is no clone, or is in the middle of something else."""
        if not (self.course / ".git").exists():
            raise CannotUpdate(
                f"{self.course} is no clone of a repository; download the course anew, unpack it beside this folder, "
                f'and there `python lab.py update --from "{self.course}"` brings what you wrote'
            )
        if self._says("rev-parse", "--quiet", "--verify", "MERGE_HEAD"):
            raise CannotUpdate("an earlier `git pull` stopped half way; end it with `git merge --abort`, then update")
        if not self._says("rev-parse", "--quiet", "--verify", "@{upstream}"):
            raise CannotUpdate(
                "this branch follows no other, so there is nothing to fetch; `git switch main` goes back to the course"
            )

    def holds(self, commit: str) -> bool:
        return self._says("merge-base", "--is-ancestor", commit, "HEAD")

    def changed_by_both(self, base: str, newest: str) -> list[str]:
        """The notebooks that the course has changed since, and the learner too."""
        theirs = self("diff", "--name-only", base, newest, "--", "notebooks/*.ipynb").splitlines()
        mine = self("diff", "--name-only", base, "--", *theirs).splitlines() if theirs else []
        return [name for name in mine if (self.course / name).is_file()]

    def notebook(self, commit: str, name: str) -> Json | None:
        """A notebook as it was, or None where it was not."""
        done = self._run("show", f"{commit}:{name}")
        return None if done.returncode else json.loads(done.stdout)

    def merge(self, newest: str, put_aside: list[str]) -> None:
        """All or nothing. Of the notebooks that were put aside the course's version is taken."""
        for name in put_aside:
            if self._says("cat-file", "-e", f"HEAD:{name}"):
                self("checkout", "--quiet", "HEAD", "--", name)
        done = self._run("merge", "--quiet", "--no-edit", newest)
        if not done.returncode:
            return
        unmerged = set(self("diff", "--name-only", "--diff-filter=U").splitlines())
        if unmerged and unmerged <= {name for name in put_aside if self.notebook(newest, name)}:
            self("checkout", "--quiet", "--theirs", "--", *unmerged)
            self("add", "--", *unmerged)
            self("commit", "--quiet", "--no-edit")
        elif unmerged:
            self("merge", "--abort")
            names = " and ".join(sorted(unmerged - set(put_aside) or unmerged))
            raise CannotUpdate(f"{names}: your commits and the course's change the same lines; merge by `git pull`")
        elif in_the_way := [line.strip() for line in done.stderr.splitlines() if line.startswith("\t")]:
            names = " and ".join(in_the_way)
            raise CannotUpdate(f"{names}: yours, and the course has a new one; move yours elsewhere, and update again")
        else:
            raise CannotUpdate(f"`git merge` did not succeed: {_last(done)}")


def _last(done: subprocess.CompletedProcess[str]) -> str:
    """The last of what git said."""
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return said[-1] if said else "it did not say why"


# ------------------------------------------------------------------------------------------------- from another folder


def bring(older: Path, course: Path) -> Update:
    """What was written in the notebooks of an older copy of the course, put into this one. The older one stays."""
    if not (older / "notebooks").is_dir() or not (older / "solutions").is_dir():
        raise CannotUpdate(f"{older}: no older copy of the course, for it has no folders notebooks and solutions")
    if older.resolve() == course.resolve():
        raise CannotUpdate(f"{older}: this is the course itself; name the folder of the older one")
    done = Update()
    for path in sorted((older / "notebooks").glob("*/*.ipynb")):
        name = path.relative_to(older).as_posix()
        try:
            base = original.of(older / "solutions" / path.parent.name / path.name)
        except original.NoOriginal:
            continue  # a notebook of the learner's own, or none of ours
        if not (course / name).is_file():
            done.refused[name] = "the newer course has no such chapter; it stays where it is"
        elif not _untouched(path, base):
            newer = original.of(course / "solutions" / path.parent.name / path.name)
            try:
                carried = carry(path, base, newer)
            except SubmissionError as error:
                done.refused[name] = _reason(error, path)
                continue
            if _untouched(course / name, newer):
                _write(course / name, carried.dumps().encode())
                done.carried[name] = carried
            elif not _untouched(course / name, carried.notebook):
                done.refused[name] = "you have begun to work on it here, too; it stays as it is in both folders"
    return done


# -------------------------------------------------------------------------------------------------------------- files


def _reason(error: SubmissionError, path: Path) -> str:
    """Without the name of the file, which is told before it."""
    return str(error).removeprefix(str(path)).lstrip(": ")


def _untouched(path: Path, *notebooks: Json | None) -> bool:
    """Whether a file is one of these, but for outputs and for what editors note; a file that is no notebook is not."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return any(same(found, one) for one in notebooks if one)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _put_aside(copies: Path, course: Path, names: list[str], commits: tuple[str, str]) -> list[str]:
    """Copies of them, in a folder that has its name only once all of them are in it."""
    partial = copies.with_name(f"{copies.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in names:
        _copy(course / name, partial / name)
    (partial / "commits").write_text(" ".join(commits), encoding="ascii")
    partial.rename(copies)
    return names


def _commits(copies: Path) -> tuple[str, str]:
    """From which commit to which."""
    base, newest = (copies / "commits").read_text(encoding="ascii").split()
    return base, newest


def _names(copies: Path) -> list[str]:
    return [path.relative_to(copies).as_posix() for path in sorted(copies.rglob("*.ipynb"))]


def _finish(copies: Path) -> Path | None:
    """The copies under a name of their own; none where nothing was put aside."""
    if not _names(copies):
        shutil.rmtree(copies)
        return None
    number = 1
    while (kept := copies.with_name(f"answers-{number}")).exists():
        number += 1
    copies.rename(kept)
    return kept


def _copy(path: Path, place: Path) -> None:
    _write(place, path.read_bytes())


def _write(place: Path, data: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.partial")
    partial.write_bytes(data)
    os.replace(partial, place)
