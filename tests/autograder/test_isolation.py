"""Each layer holds by itself: a submission of ours tries to get out of every combination of them."""

import json
import os
import struct
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from autograder import doctor, host, isolation
from autograder.isolation import Layers, Limits, landlock, seccomp
from autograder.sandbox import Sandbox
from autograder.zygote import ENVIRONMENT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")
FULL = Layers(namespaces=True, landlock=True, seccomp=True, limits=True)


def zygote(layers: Layers) -> host.Zygote:
    try:
        return host.Zygote(layers, Limits())
    except OSError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"not on this system: {error}")


def test_everything_is_in_force_and_nothing_gets_out(where):
    health = doctor.examine(where)
    assert health.layers == FULL
    assert health.escapes == []
    assert health.isolated


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "escapes"),
    [
        pytest.param(replace(FULL, namespaces=False), set(), id="without namespaces"),
        pytest.param(replace(FULL, landlock=False), set(), id="without Landlock"),
        pytest.param(replace(FULL, seccomp=False), {"starts a process"}, id="without seccomp"),
        pytest.param(
            Layers(seccomp=True, limits=True),
            {"reads the course", "sees your processes"},
            id="seccomp alone",
        ),
        pytest.param(
            Layers(limits=True),
            {"reads the course", "reaches the network", "starts a process", "sees your processes"},
            id="limits alone",
        ),
        pytest.param(
            Layers(seccomp=True),
            {"reads the course", "sees your processes", "takes all memory"},
            id="no limits",
        ),
    ],
)
def test_a_missing_layer_is_seen_and_the_others_hold(layers, escapes):
    """The last rows show that the probe can see an escape; so its silence above means something."""
    where = zygote(layers)
    try:
        health = doctor.examine(where)
    finally:
        where.close()
    assert health.layers == layers
    assert set(health.escapes) - {"reads your home"} == escapes
    assert not health.isolated or layers.complete


@pytest.mark.slow
def test_a_fresh_process_is_under_the_layers_that_it_can_have():
    where = host.Fresh(replace(FULL, namespaces=False), Limits())
    assert doctor.examine(where).escapes == []


def test_incomplete_isolation_says_so():
    assert not Layers(limits=True).complete
    assert "can read what you can read" in " ".join(Layers(limits=True).sentences())
    assert str(Layers()) == "a process of its own, no more"
    assert str(FULL) == "namespaces, landlock, seccomp, limits"


def test_the_seccomp_program_jumps_only_forward_and_inside():
    code = seccomp.program(os.getpid())
    instructions = list(struct.iter_unpack("=HBBI", code))
    assert len(instructions) < 4096
    for position, (operation, then, otherwise, _) in enumerate(instructions):
        if operation & 7 == 5:
            assert position + 1 + max(then, otherwise) < len(instructions)
    assert instructions[-1] == (seccomp.RETURN, 0, 0, seccomp.ALLOW)


def test_landlock_names_the_version_it_speaks():
    assert landlock.version() >= 1


def test_the_zygote_has_one_thread_and_knows_nothing(where):
    """What a fork inherits is what the zygote had: no module of the judge's, no file of the course's, no variable."""
    source = """
import gc, json, os, sys, types
gc.unfreeze()
def first_environment():
    try:
        lines = open("/proc/self/environ").read().split(chr(0))
    except PermissionError:
        return []
    return [line.partition("=")[0] for line in lines if line]
ours = [m for m in sys.modules if m.startswith(("autograder", "attnlab", "course", "nbgrader"))]
held = [o.__name__ for o in gc.get_objects() if type(o) is types.ModuleType and "exercises" in o.__name__]
names = {o.__qualname__ for o in gc.get_objects() if type(o) is type}
print(json.dumps({
    "threads": len(os.listdir("/proc/self/task")),
    "modules": ours,
    "exercises": held,
    "types": sorted(names & {"Exercise", "Check", "Misconception", "Verdict", "Gradebook"}),
    "files": [os.path.realpath(f"/proc/self/fd/{f}") for f in os.listdir("/proc/self/fd") if int(f) > 2],
    "environment": sorted(os.environ),
    "first environment": first_environment(),
    "command": open("/proc/self/cmdline").read(),
    "processes": [n for n in os.listdir("/proc") if n.isdigit()],
    "folder": os.listdir("."),
}))
"""
    with Sandbox([source], chapter=1, where=where) as sandbox:
        seen = json.loads(sandbox.run()[0]["text"])
    assert seen["threads"] == 1
    assert seen["modules"] == ["autograder"]
    assert seen["exercises"] == []
    assert "Gradebook" not in seen["types"]
    assert "Verdict" not in seen["types"]
    assert all("socket:" in f or f.startswith("/proc/") for f in seen["files"]), seen["files"]
    assert sum("socket:" in f for f in seen["files"]) == 1
    assert "ATTNLAB_SEED" not in seen["environment"]
    assert set(seen["first environment"]) <= {*ENVIRONMENT, "LC_CTYPE"}
    assert seen["command"].startswith(sys.executable)  # which may lie in the course's .venv, and is all it tells
    assert isolation.COURSE not in seen["command"].removeprefix(sys.executable)
    assert seen["processes"] == ["1"]
    assert seen["folder"] == []


def test_nothing_is_left_when_the_judge_is_gone(tmp_path):
    """The zygote and its children end with the judge, even when it is killed."""
    code = f"""
import sys, os, signal
sys.path[:0] = {sys.path!r}
from autograder import host
from autograder.sandbox import Sandbox
sandbox = Sandbox(["import os"], chapter=1)
sandbox.run()
print(host.shared()._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    launcher = Path(f"/proc/{int(ended.stdout)}/stat")
    for _ in range(2000):
        if not launcher.exists() or launcher.read_text().split()[2] == "Z":
            return
        subprocess.run(["true"], check=True)
    pytest.fail("the zygote outlived its judge")


def test_what_a_killed_judge_leaves_is_taken_away_and_nothing_else(tmp_path, monkeypatch):
    """Folders of ours that nobody holds. Not: one in use, a new one, a link, a file, somebody else's."""
    make = "from autograder import isolation; f = isolation.PrivateFolder(); print(f.name, flush=True); input()"
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    command = [sys.executable, "-c", make]
    with subprocess.Popen(command, cwd=isolation.COURSE, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as judge:
        killed = Path(judge.stdout.readline().decode().strip())
        judge.kill()
    (killed / "deep").mkdir()
    (killed / "deep" / "file").write_text("x")
    with isolation.PrivateFolder() as held:
        others = [tmp_path / name for name in ("attnlab-other", "attnlab-judge-file", "attnlab-judge-link", "tmp")]
        others[0].mkdir()
        others[1].write_text("x")
        others[2].symlink_to(others[0])
        others[3].mkdir()
        isolation.sweep()
        assert killed.exists()  # it could be one that is just being made
        for path in tmp_path.iterdir():
            os.utime(path, (0, 0), follow_symlinks=False)
        isolation.sweep()
        assert {path.name for path in tmp_path.iterdir()} == {Path(held).name, *(path.name for path in others)}
    assert not Path(held).exists()
