"""What a student's process is furnished with: our library as far as it is open, and a ``check`` that does nothing."""

import importlib.abc
import importlib.util
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from autograder.shortcuts import Shortcut


class Closed:
    """Something in a module that this exercise may not use. It can be imported; to use it raises ``Shortcut``."""

    def __init__(self, name: str):
        self.__name__ = name

    def _explain(self, *args: Any, **kwargs: Any) -> Any:
        raise Shortcut(
            f"`{self.__name__}` is, or builds on, what this chapter asks you to write: write your answer without it."
        )

    __call__ = __mro_entries__ = _explain

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._explain()


class Furnished(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports ``attnlab`` from text that the judge sent: nothing of it lies on the disk."""

    def __init__(self, sources: dict[str, str | None]):
        self.sources = sources

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname not in self.sources:
            return None
        origin = f"<{fullname.replace('.', '/')}.py>"
        spec = importlib.util.spec_from_loader(fullname, self, origin=origin, is_package=self.is_package(fullname))
        return spec

    def is_package(self, fullname: str) -> bool:
        return any(name.startswith(f"{fullname}.") for name in self.sources)

    def get_source(self, fullname: str) -> str | None:
        return self.sources.get(fullname)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        source = self.sources[name]
        if source is None:
            module.__dict__["__getattr__"] = lambda attribute: _closed(name, attribute)
        else:
            exec(compile(source, f"<{name.replace('.', '/')}.py>", "exec", dont_inherit=True), module.__dict__)


def _closed(module: str, attribute: str) -> Any:
    if attribute.startswith("__"):
        raise AttributeError(attribute)
    return Closed(f"{module}.{attribute}")


def furnish(sources: dict[str, str | None]) -> None:
    """Open the library. What this process has of it already is forgotten."""
    if "attnlab" in sys.modules:
        for name in [name for name in sys.modules if name.partition(".")[0] == "attnlab"]:
            del sys.modules[name]
    sys.meta_path.insert(0, Furnished(sources))


def put_stand_in() -> None:
    """``from autograder import check`` works in a submission, and neither does nor shows anything."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "autograder"]:
        del sys.modules[name]
    stand_in = ModuleType("autograder", "The judge asks later; here its checks do nothing.")

    def check(*args: Any, **kwargs: Any) -> None:
        """Does nothing while a submission is graded."""

    stand_in.check = stand_in.check_all = stand_in.progress = check  # type: ignore[attr-defined]
    sys.modules["autograder"] = stand_in


NO_PROGRAMS = "Starting other programs is not possible here; grading needs none."
STARTERS = ("execv", "execve", "fork", "forkpty", "popen", "posix_spawn", "posix_spawnp", "startfile", "system")


class NoPrograms(PermissionError):
    """What the system's refusal is called here. Who catches the system's catches this."""


def refuse_programs(shell: Any) -> None:
    """Say in a sentence that no program starts. A ``!pip install`` above an answer does not stop its cell.

    This is for the words alone: what keeps programs from starting is ``autograder.isolation``.
    """
    from IPython.utils.text import SList

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise NoPrograms(NO_PROGRAMS)

    def say(*args: Any, **kwargs: Any) -> None:
        print(NO_PROGRAMS)

    def say_and_give_nothing(*args: Any, **kwargs: Any) -> SList:
        print(NO_PROGRAMS)
        return SList()

    for name in STARTERS:
        if hasattr(os, name):
            setattr(os, name, refuse)
    subprocess.Popen._execute_child = refuse  # type: ignore[attr-defined]  # below every way to start one, on all systems
    shell.system, shell.getoutput = say, say_and_give_nothing
    shell.set_custom_exc((NoPrograms,), say)
