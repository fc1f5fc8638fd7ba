"""Run pip and the like so that the user always sees what happens, and learns in one clause why it failed.

Standard library only: `lab.py` uses this before anything is installed.
"""

import contextlib
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO


class SetUpError(Exception):
    """One sentence for the user; the command ends with status 2."""


class Console:
    """One live line on a terminal; elsewhere a line every few seconds."""

    def __init__(self, stream: IO[str], every: float = 5.0, clock: Callable[[], float] = time.monotonic):
        self.stream, self.live, self.every, self.clock = stream, stream.isatty(), every, clock
        self.step, self.began, self.shown, self.width = "", clock(), -every, 0

    def begin(self, step: str) -> None:
        self.step, self.began = step, self.clock()
        self.say(step)

    def say(self, text: str) -> None:
        """A line that stays."""
        erase = f"\r{' ' * self.width}\r" if self.width else ""
        print(erase + text, file=self.stream, flush=True)
        self.width, self.shown = 0, self.clock()

    def finish(self) -> None:
        """Leave the live line as it stands."""
        if self.width:
            print(file=self.stream, flush=True)
            self.width = 0

    def status(self, text: str) -> None:
        """What is going on now."""
        text = f"  {text} · {self.clock() - self.began:.0f} s"
        if self.live:
            text = text[: shutil.get_terminal_size().columns - 1]
            print("\r" + text.ljust(self.width), end="", file=self.stream, flush=True)
            self.width = len(text)
        elif self.clock() - self.shown >= self.every:
            self.say(text)


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wheel_name(file: str) -> str:
    """`https://host/a_b-1.0-py3-none-any.whl` → `a-b`"""
    return normalise(re.split(r"[/\\]", file)[-1].split("-")[0])


class PipReport:
    """What pip is at, read off its output."""

    def __init__(self, total: int = 0, site: Path | None = None, now: str = "starting"):
        self.total, self.site, self.now, self.done = total, site, now, 0
        self.installing: set[str] = set()
        self.present: set[str] = set()

    def feed(self, line: str) -> None:
        if found := re.match(r"(?:Collecting|Requirement already satisfied:) ([\w.-]+)", line):
            self.done, self.now = self.done + 1, found[1]
        elif found := re.match(r"Processing (.+?\.(?:whl|tar\.gz|zip))\b", line):
            self.done, self.now = self.done + 1, wheel_name(found[1])
        elif line.startswith("Ignoring "):
            self.total -= 1
        elif found := re.match(r"\s+Downloading (\S+) (\([\d.]+ \wB\))", line):
            self.now = f"downloading {wheel_name(found[1])} {found[2]}"
        elif found := re.match(r"Progress (\d+) of (\d+)", line):
            self.now = re.sub(r" \(.*", "", self.now) + f" ({int(found[1]) / 1e6:.0f} of {int(found[2]) / 1e6:.0f} MB)"
        elif re.match(r"\s+(Installing build dependencies|Getting requirements to build|Preparing metadata)", line):
            self.now = "building " + re.sub(r"^(?:downloading|building) | \(.*", "", self.now)
        elif line.startswith("Installing collected packages: "):
            self.installing = {normalise(name) for name in line.partition(": ")[2].strip().split(", ")}
            self.present = self.installed()
            self.now = f"installing {min(self.installing)}"

    def installed(self) -> set[str]:
        folders = self.site.glob("*.dist-info") if self.site else []
        return {normalise(folder.name.split("-")[0]) for folder in folders}

    def text(self) -> str:
        if self.installing:  # pip is silent now, but each package leaves a folder
            present = self.installed()
            new = sorted((present - self.present) & self.installing)
            if new:
                self.now = f"installing {new[-1]}"
            elif self.installing <= present:
                self.now = "finishing"  # pip looks whether all of them go together
            elif not self.now.startswith("installing"):
                self.now = "installing"
            self.present = present
            self.done = self.total - len(self.installing - present)
        return (f"[{min(self.done, self.total):3}/{self.total}] " if self.total else "") + self.now


# The first that fits what a failed command printed. Order matters: what pip says last is often only a consequence.
REASONS = (
    (
        r"No space left|Errno 28\b|not enough space on the disk|WinError 112|Errno 122|[Qq]uota exceeded",
        "the disk is full; the environment needs about 2 GB",
    ),
    (
        r"ensurepip is not\s+available|No module named '?(?:ensurepip|venv)\b",
        "this Python cannot make virtual environments; on Debian or Ubuntu, `sudo apt-get install python3-venv` helps",
    ),
    (r"No module named '?pip\b", "pip is missing from the environment; delete the folder .venv and start again"),
    (
        r"DO NOT MATCH THE HASHES",
        "a downloaded package is not the one the course was tested with (damaged on the way, or changed by a mirror); "
        "`pip cache purge` and another start fetch it anew",
    ),
    (
        r"WinError 206|Long Path|File name too long|Errno 36\b",
        "the path of this folder is too long for the system; move the course to a shorter one",
    ),
    (
        r"Read-only file system|Errno 30\b|Permission denied|Errno 13\b|Access is denied|WinError (?:5|32)\b",
        "a file cannot be written; close what may use it (JupyterLab?), and see that the folder is yours to write in",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError",
        "a certificate on the network is not trusted; behind a proxy that inspects traffic, name its own in PIP_CERT",
    ),
    (r"ProxyError|407 Proxy", "the network's proxy refuses; see `pip config list` and HTTPS_PROXY"),
    (
        r"name resolution|getaddrinfo|nodename nor servname|NewConnectionError|Network is unreachable|ConnectTimeout"
        r"|[Cc]onnection (?:refused|reset|broken)|[Tt]imed out|Max retries exceeded|IncompleteRead|HTTP error 5",
        "the package server cannot be reached; connect to the network and start again, it goes on from here",
    ),
    (r"MemoryError", "the memory ran out; close other programs and start again"),
    (
        r"No matching distribution|requires a different Python|not a supported wheel|[Ff]ailed building wheel"
        r"|Microsoft Visual C\+\+|metadata-generation-failed|subprocess-exited-with-error",
        "there is no ready-made {package} for this version of Python on this system; another version may have one",
    ),
)


def explain(output: str) -> str:
    """The cause of a failure, in one clause, from what the failed command printed."""
    named = re.findall(r"(?:No matching distribution found for|[Ff]ailed building wheel for) ([\w.-]+)", output)
    for pattern, reason in REASONS:
        if re.search(pattern, output):
            return reason.format(package=named[-1] if named else "package")
    lines = re.findall(r"^\s*(?:ERROR|Error|E): (.+)", output, re.M) or output.strip().splitlines()
    return f"it said: {lines[-1].strip()}" if lines else "it said nothing"


class Runner:
    """Runs commands with their output in the log and their progress on the console."""

    def __init__(self, console: Console, log: IO[str], keep_open: tuple[int, ...] = ()):
        self.console, self.log, self.keep_open = console, log, keep_open

    def run(self, command: list[str], report: PipReport | None = None, **settings: str) -> tuple[int, str]:
        """The exit status and all that was printed."""
        report = report or PipReport()
        env = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX")}
        env.update(PYTHONUNBUFFERED="1", PYTHONIOENCODING="utf-8", PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_USER="0")
        env.update(settings)
        print("$", *command, file=self.log, flush=True)
        try:
            process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # The lock stays held while the child lives: if only we are killed, the next start waits for pip to end.
                pass_fds=() if sys.platform == "win32" else self.keep_open,
            )
        except OSError as error:
            return 127, str(error)
        lines: queue.Queue[str | None] = queue.Queue()

        def pump() -> None:
            assert process.stdout is not None
            with process.stdout as stdout:
                for line in stdout:
                    lines.put(line.decode("utf-8", errors="replace"))
            lines.put(None)

        threading.Thread(target=pump, daemon=True).start()
        output: list[str] = []
        try:
            while True:
                with contextlib.suppress(queue.Empty):
                    line = lines.get(timeout=0.5)
                    if line is None:
                        break
                    output.append(line)
                    self.log.write(line)
                    self.log.flush()
                    report.feed(line)
                self.console.status(report.text())
        except BaseException:
            process.terminate()
            process.wait()
            raise
        return process.wait(), "".join(output)

    def must(self, what: str, command: list[str], report: PipReport | None = None, **settings: str) -> str:
        status, output = self.run(command, report, **settings)
        if status:
            raise SetUpError(f"{what} did not succeed: {explain(output)}")
        return output
