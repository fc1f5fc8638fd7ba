"""Make `.venv` what the lock files say, from whatever state it is in, and notice at once when it is so already.

Standard library only: `lab.py` uses this before anything is installed.
"""

import contextlib
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import IO, NamedTuple, NoReturn

from course.progress import Console, PipReport, Runner, SetUpError, explain

WINDOWS = sys.platform == "win32"
ROOT = Path(os.path.abspath(__file__)).parent.parent
VENV = ROOT / ".venv"
READY = VENV / "attnlab-ready.json"  # written last: without it the set-up is not finished
STATE = ROOT / ".attnlab"
LOG = STATE / "setup.log"
TORCH_LOCK = ROOT / "requirements-torch.lock"
LOCK = ROOT / "requirements.lock"
PYPROJECT = ROOT / "pyproject.toml"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
BYTES_NEEDED = 2_500_000_000  # the finished .venv is 1.9 GB on Linux; pip unpacks beside it


def scripts_folder(venv: PurePath, windows: bool = WINDOWS) -> PurePath:
    return venv / ("Scripts" if windows else "bin")


def venv_python(venv: PurePath, windows: bool = WINDOWS) -> PurePath:
    return scripts_folder(venv, windows) / ("python.exe" if windows else "python")


def site_packages(venv: PurePath, version: str, windows: bool = WINDOWS) -> PurePath:
    """`version` is the environment's own, such as 3.11.7: lab.py may run on another."""
    library = venv / "Lib" if windows else venv / "lib" / "python{}.{}".format(*version_numbers(version))
    return library / "site-packages"


def venv_version(venv: Path) -> str:
    """The version that pyvenv.cfg names, or "" where there is none."""
    with contextlib.suppress(OSError):
        text = (venv / "pyvenv.cfg").read_text("utf-8", errors="replace")
        for version in re.findall(r"^version(?:_info)? *= *(\d+\.\d+[^\s]*)", text, re.M):
            return version
    return ""


def minimum_python() -> tuple[int, ...]:
    requires = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["requires-python"]
    return version_numbers(requires.removeprefix(">="))


def version_numbers(version: str) -> tuple[int, ...]:
    """The first two, which is what compatibility hangs on."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


# --- Is there anything to do? ----------------------------------------------------------------------------------------


def wanted() -> dict[str, str]:
    """What a finished set-up of this folder looks like."""
    digest = hashlib.sha256(TORCH_LOCK.read_bytes() + LOCK.read_bytes()).hexdigest()
    return {"locks": digest, "python": venv_version(VENV), "folder": str(ROOT)}


def is_ready() -> bool:
    """A few file reads and no process, so that a second start costs nothing."""
    try:
        return Path(venv_python(VENV)).exists() and json.loads(READY.read_text("utf-8")) == wanted()
    except (OSError, ValueError):
        return False


# --- One set-up at a time --------------------------------------------------------------------------------------------


def take(handle: IO[str]) -> bool:
    """Try to hold the system's lock on an open file."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle.fileno(), 1 << 20, os.SEEK_SET)  # far behind the process number, so that others can read it
        try:
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network file system without locks: better on than stuck
        return True
    return True


@contextlib.contextmanager
def only_one(console: Console) -> Iterator[int]:
    """One set-up at a time. The lock goes when its process goes, however it goes, so none is ever stale."""
    with open(STATE / "setup.lock", "a+") as handle:
        while not take(handle):
            handle.seek(0)
            console.status(f"process {handle.read().strip() or '?'} is setting up this folder; waiting for it")
            time.sleep(0.5)
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield handle.fileno()


# --- The set-up, step by step ----------------------------------------------------------------------------------------


def drop_halves(site: Path) -> None:
    """pip writes INSTALLER when a package's files are all there: without it, it was stopped in the middle."""
    for folder in site.glob("*.dist-info"):
        if not (folder / "INSTALLER").exists():
            shutil.rmtree(folder)


def make_environment(runner: Runner) -> None:
    """Keep the environment that works, mend the one without pip, else begin anew."""
    python, version = str(venv_python(VENV)), venv_version(VENV)
    if version and version_numbers(version) >= minimum_python():
        works = runner.run([python, "-c", "import sys"])[0] == 0
        if works and runner.run([python, "-m", "pip", "--version"])[0]:
            works = runner.run([python, "-m", "ensurepip", "--default-pip"])[0] == 0
        if works:
            drop_halves(Path(site_packages(VENV, version)))
            return
    free = shutil.disk_usage(ROOT).free
    if free < BYTES_NEEDED:
        raise SetUpError(f"the disk has {free / 1e9:.1f} GB left, and the environment needs {BYTES_NEEDED / 1e9:.1f}")
    base = getattr(sys, "_base_executable", None) or sys.executable  # not the Python of the .venv that is cleared
    runner.must("Making .venv", [base, "-m", "venv", "--clear", str(VENV)], PipReport(now="making it"))


class Attempt(NamedTuple):
    where: str
    options: list[str]


def torch_attempts(system: str) -> list[Attempt]:
    """Where PyTorch may come from. On Linux the default index would add gigabytes of CUDA libraries: it comes last."""
    at_hand = Attempt("a wheel at hand", ["--no-index", "--no-deps"])
    if system != "Linux":
        return [at_hand, Attempt("the package index", ["--no-deps"])]
    cpu = ["--index-url", TORCH_CPU_INDEX, "--no-deps", "--retries", "2", "--timeout", "15"]
    return [
        at_hand,
        Attempt("PyTorch's own index, the CPU build, about 200 MB", cpu),
        Attempt("the package index, with the CUDA libraries, about 3 GB (the CPU build could not be had)", []),
    ]


def pip(runner: Runner) -> list[str]:
    """`pip install`, with progress in bytes where this pip can tell it."""
    command = [str(venv_python(VENV)), "-m", "pip"]
    version = runner.must("Looking at pip", [*command, "--version"]).split()[1]
    can_tell = version_numbers(version) >= (24, 1)
    return [*command, "install", "--no-input", "--no-color", "--progress-bar", "raw" if can_tell else "off"]


def install_torch(runner: Runner, install: list[str]) -> None:
    requirement, said = TORCH_LOCK.read_text("utf-8").strip(), ""
    for attempt in torch_attempts(platform.system()):
        runner.console.say(f"  from {attempt.where}")
        status, output = runner.run([*install, *attempt.options, requirement])
        if status == 0:
            return
        said += output
    if (platform.system(), platform.machine()) == ("Darwin", "x86_64"):
        raise SetUpError("PyTorch makes no packages for Macs with an Intel processor any more; use Colab")
    raise SetUpError(f"Installing PyTorch did not succeed: {explain(said)}")


def install_packages(runner: Runner, install: list[str]) -> None:
    total = len(re.findall(r"^[\w.-]+==", LOCK.read_text("utf-8"), re.M))
    report = PipReport(total, Path(site_packages(VENV, venv_version(VENV))))
    command = [*install, "--no-deps", "--require-hashes", "-r", str(LOCK)]
    runner.must("Installing the packages", command, report)


# Runs in the environment. Its commands and its activate scripts hold absolute paths, which end when the folder moves.
WRITE_COMMANDS = """
import sys, sysconfig, venv
from importlib.metadata import distributions
from pip._vendor.distlib.scripts import ScriptMaker

maker = ScriptMaker(None, sysconfig.get_path("scripts"))
maker.clobber, maker.set_mode, maker.variants = True, True, {""}
entries = [entry for package in distributions() for entry in package.entry_points]
for entry in entries:
    if entry.group in ("console_scripts", "gui_scripts"):
        maker.make(f"{entry.name} = {entry.value}", {"gui": entry.group == "gui_scripts"})
for command in sys.argv[1:]:
    maker.make(command)
builder = venv.EnvBuilder()
builder.setup_scripts(builder.ensure_directories(sys.prefix))
"""


def link_course(runner: Runner) -> None:
    """Put the course on the environment's path, and its `attnlab` command among the others.

    Not `pip install -e`: that builds a package, 7 s each time, and writes absolute paths. A path file with relative
    ones stays right when the folder moves, and is plain ASCII, whatever the folder is called.
    """
    site = Path(site_packages(VENV, venv_version(VENV)))
    roots = [os.path.relpath(folder, site) for folder in (ROOT / "lib", ROOT)]
    (site / "attention-lab.pth").write_text("\n".join(roots) + "\n", "ascii")
    scripts = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["scripts"]
    commands = [f"{name} = {target}" for name, target in scripts.items()]
    runner.must("Linking the course", [str(venv_python(VENV)), "-c", WRITE_COMMANDS, *commands])


def set_up(console: Console) -> None:
    """Make .venv what the lock files say, from whatever state it is in."""
    if is_ready():
        return
    STATE.mkdir(exist_ok=True)
    with only_one(console) as lock, open(LOG, "w", encoding="utf-8") as log:
        if is_ready():  # by the one we waited for
            return
        READY.unlink(missing_ok=True)
        runner = Runner(console, log, keep_open=(lock,))
        console.begin("1/4 The environment .venv")
        make_environment(runner)
        install = pip(runner)
        console.begin("2/4 PyTorch")
        install_torch(runner, install)
        console.begin("3/4 The packages of requirements.lock")
        install_packages(runner, install)
        console.begin("4/4 The course itself")
        link_course(runner)
        READY.write_text(json.dumps(wanted()), "utf-8")
        console.say("Ready.")


class Part(NamedTuple):
    """A program that some tests need and that pip cannot bring."""

    package: str
    commands: tuple[str, ...]
    what_for: str


SYSTEM_PARTS = (
    Part("chromium", ("chromium", "chromium-browser", "google-chrome"), "the tests in a real browser"),
    Part("bubblewrap", ("bwrap",), "the tests of the grader's isolation"),
    Part("postgresql", ("pg_ctl",), "the tests of a gradebook in PostgreSQL"),
)


def find(command: str) -> str | None:
    """Where a program is. Debian keeps PostgreSQL's server off the path, in a folder a version."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    return shutil.which(command) or shutil.which(command, path=os.pathsep.join(folders) or os.devnull)


def missing_parts() -> list[Part]:
    return [part for part in SYSTEM_PARTS if not any(map(find, part.commands))]


def add_system_parts(console: Console) -> None:
    """Install what the tests need of the system, where that is ours to do; elsewhere those tests are skipped."""
    if sys.platform != "linux" or not missing_parts():
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        console.begin("System packages for the tests")
        STATE.mkdir(exist_ok=True)
        with open(LOG, "a", encoding="utf-8") as log:
            runner = Runner(console, log)
            runner.run(["apt-get", "update"], PipReport(now="reading the package lists"))
            for part in missing_parts():
                command = ["apt-get", "install", "-y", "--no-install-recommends", part.package]
                report = PipReport(now=f"installing {part.package}")
                runner.run(command, report, DEBIAN_FRONTEND="noninteractive")
    for part in missing_parts():
        note = f"{part.package} is missing, which {part.what_for} need (on Debian: sudo apt-get install {part.package})"
        if os.environ.get("CI", "").lower() == "true":
            raise SetUpError(note)
        console.say(f"{note}; they are skipped")


def write_lock() -> int:
    """Choose every version anew, for all systems and Python versions at once."""
    if not shutil.which("uv"):
        raise SetUpError("`python lab.py lock` needs uv, which `python -m pip install uv` brings")
    torch = TORCH_LOCK.read_text("utf-8").partition("=")[0]
    command = ["uv", "pip", "compile", "pyproject.toml", "--universal", "--all-extras", "--generate-hashes"]
    command += ["--python-version", "{}.{}".format(*minimum_python()), "--constraint", TORCH_LOCK.name]
    command += ["--no-emit-package", torch, "--custom-compile-command", "python lab.py lock", "-o", LOCK.name]
    return subprocess.call(command, cwd=ROOT)


def hand_over(arguments: list[str]) -> NoReturn:
    """Become the environment's Python."""
    python = str(venv_python(VENV))
    os.environ["VIRTUAL_ENV"] = str(VENV)
    os.environ["PATH"] = os.pathsep.join([str(scripts_folder(VENV)), os.environ.get("PATH", os.defpath)])
    sys.stdout.flush()
    if not WINDOWS:
        os.execv(python, [python, *arguments])
    process = subprocess.Popen([python, *arguments])  # an exec on Windows would let go of the console
    while True:
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C reaches the child too, which decides
            sys.exit(process.wait())
