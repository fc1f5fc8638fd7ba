"""The one command: what each word does, how the set-up goes on from any state, and what it says when it cannot."""

import ast
import base64
import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import SimpleNamespace

import pytest

import lab
from course import environment, progress
from course.progress import Console, PipReport, Runner, SetUpError, explain

HERE = Path(__file__).resolve().parent.parent


class HandedOverError(Exception):
    """Stands in for the process that hand_over becomes."""


class FakeRunner(Runner):
    """Answers from a list of (part of the command line, status, output), each once; anything else succeeds."""

    answers: list[tuple[str, int, str]]

    def __init__(self, *answers: tuple[str, int, str]):
        super().__init__(Console(io.StringIO()), io.StringIO())
        self.answers, self.commands = list(answers), list[str]()

    def run(self, command: list[str], report: PipReport | None = None, **settings: str) -> tuple[int, str]:
        line = " ".join(command)
        self.commands.append(line)
        for answer in self.answers:
            if answer[0] in line:
                self.answers.remove(answer)
                return answer[1:]
        if "-m venv" in line:
            (environment.VENV / "bin").mkdir(parents=True, exist_ok=True)
            (environment.VENV / "pyvenv.cfg").write_text("version = 3.12.4\n")
            Path(environment.venv_python(environment.VENV)).parent.mkdir(parents=True, exist_ok=True)
            Path(environment.venv_python(environment.VENV)).touch()
            Path(environment.site_packages(environment.VENV, "3.12.4")).mkdir(parents=True, exist_ok=True)
        return 0, "pip 24.0 from somewhere" if "--version" in line else ""

    def ran(self, part: str) -> bool:
        return any(part in line for line in self.commands)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the course that has nothing but what the set-up reads, in a folder with a space and an accent."""
    root = tmp_path / "attention läb"
    root.mkdir()
    (root / "pyproject.toml").write_bytes((HERE / "pyproject.toml").read_bytes())
    (root / "requirements-torch.lock").write_text("torch==2.3.5\n")
    (root / "requirements.lock").write_text("first==1.0 \\\n    --hash=sha256:0\nsecond==1.0 \\\n    --hash=sha256:0\n")
    move_to(root, monkeypatch)
    return root


def move_to(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ROOT", root)
    monkeypatch.setattr(environment, "VENV", root / ".venv")
    monkeypatch.setattr(environment, "READY", root / ".venv" / "attnlab-ready.json")
    monkeypatch.setattr(environment, "STATE", root / ".attnlab")
    monkeypatch.setattr(environment, "LOG", root / ".attnlab" / "setup.log")
    monkeypatch.setattr(environment, "TORCH_LOCK", root / "requirements-torch.lock")
    monkeypatch.setattr(environment, "LOCK", root / "requirements.lock")
    monkeypatch.setattr(environment, "PYPROJECT", root / "pyproject.toml")


@pytest.fixture
def set_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeRunner]:
    def run(*answers: tuple[str, int, str]) -> FakeRunner:
        runner = FakeRunner(*answers)
        monkeypatch.setattr(environment, "Runner", lambda *_, **__: runner)
        environment.set_up(Console(io.StringIO()))
        return runner

    return run


# --- The words -------------------------------------------------------------------------------------------------------


@pytest.fixture
def handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    calls: list[list[str]] = []

    def hand_over(arguments: list[str]) -> None:
        calls.append(arguments)
        raise HandedOverError

    monkeypatch.setattr(environment, "set_up", lambda console: calls.append(["set up"]))
    monkeypatch.setattr(environment, "add_system_parts", lambda console: calls.append(["system parts"]))
    monkeypatch.setattr(environment, "hand_over", hand_over)
    monkeypatch.chdir(tmp_path)
    return calls


@pytest.mark.parametrize(
    "words, course",
    [
        ([], ["open"]),
        (["check", "my work.ipynb"], ["check", "my work.ipynb"]),
        (["grade", "--help"], ["grade", "--help"]),
    ],
)
def test_no_word_opens_the_course_and_other_words_go_to_attnlab(words, course, handed_over):
    with pytest.raises(HandedOverError):
        lab.main(words)
    assert handed_over == [["set up"], ["-P", "-m", "course", *course]]


def test_test_adds_system_parts_and_passes_its_arguments_to_pytest(handed_over):
    with pytest.raises(HandedOverError):
        lab.main(["test", "tests/lib", "-x"])
    assert handed_over == [["set up"], ["system parts"], ["-m", "pytest", "tests/lib", "-x"]]
    assert Path.cwd() == environment.ROOT


@pytest.mark.parametrize("cores, workers", [(1, "1"), (2, "2"), (64, "4"), (None, "1")])
def test_all_tests_run_on_every_core_but_no_more_than_fit_in_memory(cores, workers, handed_over, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    with pytest.raises(HandedOverError):
        lab.main(["test"])
    assert handed_over[-1] == ["-m", "pytest", "-n", workers, "--dist", "loadscope"]


def test_setup_only_sets_up(handed_over, capsys):
    assert lab.main(["setup"]) == 0
    assert handed_over == [["set up"]]


@pytest.mark.parametrize("words, status", [(["--help"], 0), (["-h"], 0), (["setup", "--help"], 0), (["setup", "x"], 2)])
def test_help_names_every_word_and_needs_no_set_up(words, status, handed_over, capsys):
    assert lab.main(words) == status
    assert handed_over == []
    shown = capsys.readouterr().out
    for word in ("", " test", " setup", " lock", " check", " grade", " build"):
        assert f"python lab.py{word} " in shown


@pytest.mark.parametrize(
    "error, status, said",
    [
        (SetUpError("the moon is in the way"), 2, "lab.py: the moon is in the way."),
        (OSError(28, "No space left on device"), 2, "the disk is full"),
        (PermissionError(13, "Permission denied"), 2, "a file cannot be written"),
    ],
)
def test_trouble_is_one_sentence_and_status_two(error, status, said, monkeypatch, capsys):
    def fail(console):
        raise error

    monkeypatch.setattr(environment, "set_up", fail)
    assert lab.main([]) == status
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err + shown.out


def test_ctrl_c_says_that_the_next_start_goes_on(monkeypatch, capsys):
    def interrupt(console):
        raise KeyboardInterrupt

    monkeypatch.setattr(environment, "set_up", interrupt)
    assert lab.main(["setup"]) == 130
    assert "goes on from here" in capsys.readouterr().out


# --- Old Pythons, bare Pythons ---------------------------------------------------------------------------------------


def test_lab_py_parses_on_python_3_6():
    tree = ast.parse((HERE / "lab.py").read_text("utf-8"), feature_version=(3, 6))
    futures = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    walruses = [node for node in ast.walk(tree) if isinstance(node, ast.NamedExpr | ast.Match)]
    assert not futures and not walruses


def test_an_old_python_is_told_so_and_a_new_one_is_not(monkeypatch, capsys):
    assert lab.too_old((3, 11, 0)) is None
    assert lab.too_old((4, 0, 0)) is None
    assert "needs Python 3.11 or newer, and this is 3.6 (" in lab.too_old((3, 6, 15))
    monkeypatch.setattr(lab, "too_old", lambda version: "too old")
    assert lab.main([]) == 2
    assert capsys.readouterr().err == "lab.py: too old\n"


def test_the_set_up_needs_the_standard_library_only():
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); import lab; from course import environment, progress"
    bare = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert bare.returncode == 0, bare.stderr


# --- Paths -----------------------------------------------------------------------------------------------------------


def test_the_folders_follow_each_systems_rules():
    windows = PureWindowsPath(r"C:\Users\Zoë M\attention lab\.venv")
    assert str(environment.venv_python(windows, windows=True)).endswith(r"Zoë M\attention lab\.venv\Scripts\python.exe")
    assert environment.site_packages(windows, "3.13.0", windows=True) == windows / "Lib" / "site-packages"
    posix = PurePosixPath("/home/zoë m/.venv")
    assert str(environment.venv_python(posix, windows=False)) == "/home/zoë m/.venv/bin/python"
    assert str(environment.site_packages(posix, "3.13.0", windows=False)).endswith(".venv/lib/python3.13/site-packages")


def test_the_path_file_is_ascii_and_relative_and_names_lib_and_the_root(folder, set_up):
    set_up()
    site = Path(environment.site_packages(environment.VENV, "3.12.4"))
    lines = (site / "attention-lab.pth").read_bytes().decode("ascii").splitlines()
    assert [Path(os.path.normpath(site / line)) for line in lines] == [folder / "lib", folder]
    assert not any(map(os.path.isabs, lines))


# --- From any state to a finished set-up -----------------------------------------------------------------------------


def test_a_first_start_goes_through_every_step_and_a_second_runs_nothing(set_up):
    first = set_up()
    for part in ("-m venv --clear", "--no-index --no-deps torch==2.3.5", "--require-hashes -r", "attnlab = course."):
        assert first.ran(part), part
    assert environment.is_ready()
    assert set_up().commands == []


def test_a_failed_start_is_not_taken_for_a_finished_one(set_up):
    with pytest.raises(SetUpError, match="cannot be reached"):
        set_up(("--require-hashes", 1, "Failed to establish a new connection: getaddrinfo failed"))
    assert not environment.is_ready()
    again = set_up()
    assert not again.ran("-m venv")
    assert environment.is_ready()


def test_a_new_lock_is_installed_into_the_environment_that_is_there(folder, set_up):
    set_up()
    (folder / "requirements.lock").write_text("third==1.0 \\\n    --hash=sha256:0\n")
    assert not environment.is_ready()
    again = set_up()
    assert again.ran("--require-hashes") and not again.ran("-m venv")


def test_after_a_failed_update_the_old_lock_is_not_taken_for_installed(folder, set_up):
    set_up()
    old = (folder / "requirements.lock").read_bytes()
    (folder / "requirements.lock").write_text("third==1.0 \\\n    --hash=sha256:0\n")
    with pytest.raises(SetUpError):
        set_up(("--require-hashes", 1, "Killed"))
    (folder / "requirements.lock").write_bytes(old)
    assert not environment.is_ready()


def test_a_moved_folder_is_linked_anew(folder, set_up, monkeypatch):
    set_up()
    moved = folder.rename(folder.with_name("élsewhere"))
    move_to(moved, monkeypatch)
    assert not environment.is_ready()
    again = set_up()
    assert again.ran("attnlab = course.") and not again.ran("-m venv")
    assert environment.is_ready()


def test_an_environment_whose_python_is_gone_is_made_anew(set_up):
    set_up()
    Path(environment.venv_python(environment.VENV)).unlink()
    assert not environment.is_ready()
    assert set_up(("-c import sys", 127, "no such file")).ran("-m venv --clear")


def test_an_environment_of_too_old_a_python_is_made_anew(set_up):
    set_up()
    (environment.VENV / "pyvenv.cfg").write_text("version = 3.10.1\n")
    assert set_up().ran("-m venv --clear")


def test_an_environment_without_pip_gets_pip(set_up):
    set_up()
    environment.READY.write_text('{"half": ')
    assert not environment.is_ready()
    again = set_up(("-m pip --version", 1, "No module named pip"))
    assert again.ran("-m ensurepip") and not again.ran("-m venv")


def test_a_half_installed_package_is_dropped_and_a_whole_one_kept(tmp_path):
    for name in ("whole-1.0.dist-info", "half-1.0.dist-info"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "METADATA").touch()
    (tmp_path / "whole-1.0.dist-info" / "INSTALLER").touch()
    environment.drop_halves(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["whole-1.0.dist-info"]


def test_a_full_disk_is_noticed_before_anything_is_made(set_up, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=700_000_000))
    with pytest.raises(SetUpError, match=r"0\.7 GB left"):
        set_up()


def test_only_one_set_up_runs_at_a_time(folder):
    environment.STATE.mkdir()
    with environment.only_one(Console(io.StringIO())), open(environment.STATE / "setup.lock", "a+") as other:
        assert not environment.take(other)
        other.seek(0)
        assert other.read() == str(os.getpid())
    with open(environment.STATE / "setup.lock", "a+") as other:
        assert environment.take(other)


# --- PyTorch ---------------------------------------------------------------------------------------------------------


def test_linux_asks_for_the_cuda_libraries_last_and_says_how_large_they_are():
    at_hand, cpu, cuda = environment.torch_attempts("Linux")
    assert at_hand.options == ["--no-index", "--no-deps"]
    assert environment.TORCH_CPU_INDEX in cpu.options and "--no-deps" in cpu.options
    assert cuda.options == [] and "GB" in cuda.where
    for system in ("Darwin", "Windows"):
        assert [attempt.options for attempt in environment.torch_attempts(system)][1:] == [["--no-deps"]]


def test_pytorch_is_sought_until_it_is_found(set_up, monkeypatch):
    monkeypatch.setattr(environment.platform, "system", lambda: "Linux")
    runner = set_up(("--no-index", 1, "ERROR: No matching distribution found for torch==2.3.5"))
    asked = [line for line in runner.commands if "torch==" in line]
    assert len(asked) == 2 and environment.TORCH_CPU_INDEX in asked[1]


@pytest.mark.parametrize(
    "machine, said", [("arm64", "no ready-made torch for this version"), ("x86_64", "Macs with an Intel processor")]
)
def test_a_system_without_pytorch_is_told_so(machine, said, set_up, monkeypatch):
    monkeypatch.setattr(environment.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(environment.platform, "machine", lambda: machine)
    with pytest.raises(SetUpError, match=said):
        set_up(*[("torch==", 1, "ERROR: No matching distribution found for torch==2.3.5")] * 2)


@pytest.mark.parametrize("version, bar", [("23.2.1", "off"), ("24.1", "raw"), ("26.0.1", "raw")])
def test_a_pip_that_can_count_bytes_is_asked_to(version, bar):
    assert environment.pip(FakeRunner(("--version", 0, f"pip {version} from x")))[-2:] == ["--progress-bar", bar]


# --- What pip says, and what we make of it ---------------------------------------------------------------------------

PIP_SAYS = r"""
Looking in indexes: https://pypi.org/simple | [  0/3] starting
Ignoring appnope: markers 'sys_platform == "darwin"' don't match your environment | [  0/2] starting
Collecting jupyter_server==2.21.1 (from -r requirements.lock (line 972)) | [  1/2] jupyter_server
  Downloading jupyter_server-2.21.1-py3-none-any.whl (1.4 MB) | [  1/2] downloading jupyter-server (1.4 MB)
Progress 524288 of 1400000 | [  1/2] downloading jupyter-server (1 of 1 MB)
  Preparing metadata (setup.py): started | [  1/2] building jupyter-server
Processing /a folder/torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl (from -r x (line 7)) | [  2/2] torch
Processing c:\wheels\é\seqeval-1.2.2.tar.gz | [  2/2] seqeval
  Installing build dependencies: started | [  2/2] building seqeval
  Preparing metadata (pyproject.toml): started | [  2/2] building seqeval
Requirement already satisfied: numpy==2.4.6 in ./.venv (from -r x (line 9)) (2.4.6) | [  2/2] numpy
Installing collected packages: torch, Jupyter_Server | [  0/2] installing jupyter-server
"""


def test_pips_output_becomes_progress():
    report = PipReport(total=3)
    for line in PIP_SAYS.strip().splitlines():
        said, _, shown = line.partition(" | ")
        report.feed(said + "\n")
        assert report.text() == shown


def test_progress_goes_on_while_pip_installs_in_silence(tmp_path):
    report = PipReport(total=3, site=tmp_path)
    for name in ("numpy-2.4.6", "pip-26.0"):  # pip is there, but not among the three
        (tmp_path / f"{name}.dist-info").mkdir()
    report.feed("Installing collected packages: torch, Jupyter_Server\n")
    assert report.text() == "[  1/3] installing jupyter-server"
    (tmp_path / "torch-2.13.0.dist-info").mkdir()
    assert report.text() == "[  2/3] installing torch"
    (tmp_path / "jupyter_server-2.21.1.dist-info").mkdir()
    assert report.text() == "[  3/3] installing jupyter-server"
    assert report.text() == "[  3/3] finishing"


@pytest.mark.parametrize(
    "output, said",
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("[WinError 112] There is not enough space on the disk", "disk is full"),
        ("The virtual environment was not created successfully because ensurepip is not\navailable.", "virtual envir"),
        ("/usr/bin/python3: No module named venv", "python3-venv"),
        ("/x/.venv/bin/python: No module named pip", "pip is missing"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "changed by a mirror"),
        ("OSError: [Errno 36] File name too long: '/x'", "path of this folder is too long"),
        ("[Errno 30] Read-only file system: '/x/.venv'", "cannot be written"),
        ("ERROR: [WinError 5] Access is denied: 'c:\\\\x\\\\torch.dll'", "JupyterLab"),
        ("[WinError 52] something else", "it said: [WinError 52]"),
        ("SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'): Max retries exceeded", "PIP_CERT"),
        ("WARNING: Retrying after ProxyError('Cannot connect to proxy.')\nMax retries exceeded", "proxy refuses"),
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError: Temporary failure in name resolution'\n"
            "ERROR: No matching distribution found for rich==15.0.0",
            "server cannot be reached",
        ),
        ("pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.", "server cannot be reached"),
        ("[Errno 61] Connection refused", "server cannot be reached"),
        ("ERROR: No matching distribution found for scipy==1.17.1", "no ready-made scipy for this version"),
        ("error: subprocess-exited-with-error\nERROR: Failed building wheel for lxml", "no ready-made lxml"),
        ("ERROR: first\n  more\nERROR: Something new\n", "it said: Something new"),
        ("Killed\n", "it said: Killed"),
        ("", "it said nothing"),
    ],
)
def test_a_failure_is_explained_in_words(output, said):
    assert said in explain(output)


# --- The console and the commands it watches -------------------------------------------------------------------------


def test_without_a_terminal_there_is_a_line_every_few_seconds():
    now, stream = [0.0], io.StringIO()
    console = Console(stream, every=5, clock=lambda: now[0])
    console.begin("1/4 The environment")
    for now[0] in (1.0, 4.0, 6.0, 7.0, 12.0):
        console.status("numpy")
    assert stream.getvalue().splitlines() == ["1/4 The environment", "  numpy · 6 s", "  numpy · 12 s"]


def test_on_a_terminal_one_line_is_rewritten_and_leaves_no_remains(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((30, 24)))
    console = Console(stream, clock=lambda: 0.0)
    console.status("a name that is much longer than the terminal")
    console.status("short")
    console.say("done")
    screen = ""
    for part in stream.getvalue().split("\r"):
        assert len(part.rstrip("\n")) < 30
        screen = part + screen[len(part) :]
    assert screen.rstrip() == "done"


def test_a_command_is_logged_and_its_status_and_output_come_back():
    log = io.StringIO()
    runner = Runner(Console(io.StringIO()), log)
    code = "import os, sys; print('é', os.environ.get('PIP_TARGET'), os.environ['PIP_USER']); sys.exit(3)"
    os.environ["PIP_TARGET"] = "elsewhere"  # would put the packages outside the environment
    try:
        status, output = runner.run([sys.executable, "-c", code])
    finally:
        del os.environ["PIP_TARGET"]
    assert (status, output.strip()) == (3, "é None 0")
    assert log.getvalue().startswith(f"$ {sys.executable} -c") and output in log.getvalue()


def test_a_command_that_cannot_start_is_a_failure_with_a_reason():
    status, output = Runner(Console(io.StringIO()), io.StringIO()).run(["/no/such/program"])
    assert status == 127 and "/no/such/program" in output


def test_a_command_is_stopped_when_the_set_up_is(monkeypatch):
    started: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    class Interrupting(PipReport):
        def text(self) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr(progress.subprocess, "Popen", Recorded)
    code = "import time; print('x', flush=True); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        Runner(Console(io.StringIO()), io.StringIO()).run([sys.executable, "-c", code], Interrupting())
    assert started[0].returncode is not None


# --- The parts that pip cannot bring ---------------------------------------------------------------------------------


@pytest.fixture
def linux_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeRunner]:
    def arrange(*programs: str, user: int = 1000, ci: str = "") -> FakeRunner:
        runner = FakeRunner()
        monkeypatch.setattr(environment.sys, "platform", "linux")
        monkeypatch.setattr(
            environment.shutil, "which", lambda name, path=None: name if not path and name in programs else None
        )
        monkeypatch.setattr(environment.os, "geteuid", lambda: user, raising=False)
        monkeypatch.setenv("CI", ci)
        monkeypatch.setattr(environment, "Runner", lambda *_, **__: runner)
        return runner

    return arrange


def test_nothing_is_done_where_no_part_is_missing(linux_with):
    runner, stream = linux_with("chromium", "bwrap", "pg_ctl", "apt-get", user=0), io.StringIO()
    environment.add_system_parts(Console(stream))
    assert runner.commands == [] and stream.getvalue() == ""


def test_root_on_debian_gets_the_missing_part_only(linux_with):
    runner = linux_with("chromium", "pg_ctl", "apt-get", user=0)
    environment.add_system_parts(Console(io.StringIO()))
    assert runner.commands[-1].endswith("bubblewrap") and not runner.ran("chromium")


def test_elsewhere_the_tests_are_skipped_with_the_reason(linux_with):
    runner, stream = linux_with("google-chrome", "apt-get", user=1000), io.StringIO()
    environment.add_system_parts(Console(stream))
    assert runner.commands == []
    assert "bubblewrap is missing" in stream.getvalue() and "chromium" not in stream.getvalue()


def test_ci_does_not_skip(linux_with):
    linux_with(ci="true")
    with pytest.raises(SetUpError, match="chromium is missing"):
        environment.add_system_parts(Console(io.StringIO()))


# --- Handing over, locking -------------------------------------------------------------------------------------------


def test_posix_becomes_the_environments_python(folder, monkeypatch):
    calls = []

    def execv(*call):
        calls.append(call)
        raise HandedOverError

    monkeypatch.setattr(environment, "WINDOWS", False)
    monkeypatch.setattr(environment.os, "execv", execv)
    monkeypatch.setattr(environment.os, "environ", {"PATH": "rest"})
    with pytest.raises(HandedOverError):
        environment.hand_over(["-m", "course", "a b"])
    python = str(environment.venv_python(environment.VENV))
    assert calls == [(python, [python, "-m", "course", "a b"])]
    assert os.environ["PATH"].split(os.pathsep) == [str(environment.scripts_folder(environment.VENV)), "rest"]


def test_windows_waits_through_ctrl_c_and_passes_the_status_on(folder, monkeypatch):
    statuses = [None, 7]  # None: Ctrl-C comes first

    class Child:
        def __init__(self, command):
            assert command[1:] == ["-m", "course"]

        def wait(self) -> int:
            status = statuses.pop(0)
            if status is None:
                raise KeyboardInterrupt
            return status

    monkeypatch.setattr(environment, "WINDOWS", True)
    monkeypatch.setattr(environment.subprocess, "Popen", Child)
    monkeypatch.setattr(environment.os, "environ", {})
    with pytest.raises(SystemExit) as end:
        environment.hand_over(["-m", "course"])
    assert end.value.code == 7 and statuses == []


def test_the_lock_is_chosen_for_every_system_without_torch(folder, monkeypatch):
    calls = []

    def call(command: list[str], cwd: Path) -> int:
        calls.append((command, cwd))
        return 0

    monkeypatch.setattr(environment.shutil, "which", lambda name: name)
    monkeypatch.setattr(environment.subprocess, "call", call)
    assert lab.main(["lock"]) == 0
    ((command, cwd),) = calls
    assert cwd == folder
    assert " ".join(command) == (
        "uv pip compile pyproject.toml --universal --all-extras --generate-hashes --python-version 3.11 "
        "--constraint requirements-torch.lock --no-emit-package torch "
        "--custom-compile-command python lab.py lock -o requirements.lock"
    )


def test_without_uv_it_says_where_to_get_it(folder, monkeypatch, capsys):
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    assert lab.main(["lock"]) == 2
    assert "pip install uv" in capsys.readouterr().err


# --- For real, with two packages of our own --------------------------------------------------------------------------


def make_wheel(folder: Path, name: str, version: str) -> str:
    """A wheel with one module and one command; its hash as pip wants it."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "def main():\n    print('the command of the wheel')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-says = {name}:main\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.mark.slow
def test_set_up_for_real_then_move_then_mend(folder, tmp_path):
    wheels = tmp_path / "wheels ü"
    wheels.mkdir()
    make_wheel(wheels, "torch", "2.3.5")
    (folder / "requirements.lock").write_text(f"tiny==1.0 --hash=sha256:{make_wheel(wheels, 'tiny', '1.0')}\n")
    (folder / "course").mkdir()
    (folder / "lib" / "attnlab").mkdir(parents=True)
    (folder / "lib" / "attnlab" / "__init__.py").touch()
    for name in ("lab.py", "course/environment.py", "course/progress.py"):
        (folder / name).write_bytes((HERE / name).read_bytes())
    (folder / "course" / "__init__.py").touch()
    (folder / "course" / "command.py").write_text("def main():\n    print('the command of the course')\n")
    (folder / "course" / "__main__.py").write_text("import sys, attnlab, torch, tiny\nprint('words:', sys.argv[1:])\n")
    settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels.as_uri(), "PIP_CONFIG_FILE": os.devnull}

    def start(root: Path, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=root,
            env={**os.environ, **settings, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    first = start(folder, "lab.py", "check", "a b", "é")
    assert first.splitlines()[-1] == "words: ['check', 'a b', 'é']"
    assert [line[:3] for line in first.splitlines() if line[1:2] == "/"] == ["1/4", "2/4", "3/4", "4/4"]
    assert start(folder, "lab.py", "open") == "words: ['open']\n"

    moved = folder.rename(tmp_path / "moved é")
    assert "words: ['open']" in start(moved, "lab.py")
    says = "import pathlib, subprocess, sysconfig; scripts = pathlib.Path(sysconfig.get_path('scripts')); "
    says += "[subprocess.run([next(scripts.glob(name + '*'))], check=True) for name in ('tiny-says', 'attnlab')]"
    python = moved / ".venv" / Path(environment.venv_python(Path(".")))
    spoken = subprocess.run([python, "-c", says], capture_output=True, text=True, check=True).stdout
    assert spoken.splitlines() == ["the command of the wheel", "the command of the course"]

    # Killed in the middle of a package: pip alone would take it for installed.
    (site,) = {path.parent.parent for path in (moved / ".venv").rglob("tiny-1.0.dist-info/INSTALLER")}
    (site / "tiny-1.0.dist-info" / "INSTALLER").unlink()
    (site / "tiny.py").unlink()
    (moved / ".venv" / "attnlab-ready.json").unlink()
    assert "words: ['open']" in start(moved, "lab.py")


@pytest.mark.parametrize(("called", "name"), [("python lab.py", "python lab.py"), (None, "attnlab")])
def test_a_word_that_is_not_there_is_answered_under_the_name_that_was_typed(called, name):
    kept = {k: v for k, v in os.environ.items() if k != "ATTNLAB_CALLED"} | {
        "PYTHONPATH": os.pathsep.join(("lib", "."))
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "course", "nonsense"],
        cwd=HERE,
        env=kept | ({"ATTNLAB_CALLED": called} if called else {}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert f"Try '{name} -h' for help." in done.stderr and "No such command 'nonsense'" in done.stderr
