"""Submissions that cheat, break out, or break things. None changes a grade, stops the run, or reads what is not its.

Each attack is a notebook. After each, a right answer of somebody else's still earns its points.
"""

import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from submissions import RIGHT, SEED, SOFTMAX, exercises, graded, notebook, points

from autograder import isolation, panel, submission
from autograder.grading import grade
from autograder.isolation import Limits
from autograder.judge import VISIBLE_SEED

QUICK = Limits(cell_seconds=2, notebook_seconds=6, exercise_seconds=2)
WRONG = "def softmax(x, axis=-1):\n    return x\n"


@pytest.fixture(autouse=True)
def somebody_else(where):
    """Whatever a submission does, the next one is graded as ever."""
    yield
    grading = graded(*RIGHT)
    assert grading.points == 6, panel.text(grading.verdicts[0])


PATCHES = {
    "asserts": "import numpy.testing, torch.testing\n"
    "for m in (numpy.testing, torch.testing):\n    for n in dir(m):\n        setattr(m, n, lambda *a, **k: None)",
    "builtins": "import builtins\nfor n in ('abs', 'all', 'any', 'isinstance', 'len', 'max', 'type', 'sum'):\n"
    "    setattr(builtins, n, lambda *a, **k: True)",
    "numpy": "import numpy as np\nnp.isclose = np.allclose = np.array_equal = lambda *a, **k: True\n"
    "np.asarray = lambda *a, **k: 0",
    "torch": "import torch\ntorch.allclose = torch.equal = lambda *a, **k: True\n"
    "torch.Tensor.__eq__ = lambda a, b: True",
    "pytest": "import sys, types\nm = types.ModuleType('pytest'); m.approx = lambda *a, **k: object()\n"
    "sys.modules['pytest'] = m",
    "the judge's modules": "import sys\nfor n, m in list(sys.modules.items()):\n"
    "    for a in list(vars(m) if m else ()):\n"
    "        if a in ('close', 'same', 'judge', 'check', 'CheckFailure', 'StudentError'):\n"
    "            setattr(m, a, lambda *x, **k: None)",
    "signals": "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
    "    except (OSError, ValueError): pass",
    "transformers": "ip = get_ipython()\nip.input_transformers_cleanup.append(lambda lines: ['pass\\n'])\n"
    "import ast\nclass T(ast.NodeTransformer):\n    def visit_FunctionDef(self, node):\n"
    "        node.body = [ast.parse('return None').body[0]]\n"
    "        return node\nip.ast_transformers.append(T())",
    "hooks": "import sys, threading\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\n"
    "sys.excepthook = sys.displayhook = sys.unraisablehook = None\nsys.stdout = sys.stderr = None\n"
    "get_ipython().run_cell = None",
    "the stack": "import sys\nf = sys._getframe()\nwhile f:\n    for k in list(f.f_locals):\n"
    "        if k in ('request', 'reply', 'seconds', 'forbidden'): f.f_locals[k] = None\n    f = f.f_back",
    "the collector": "import gc\ngc.unfreeze()\nfor o in gc.get_objects():\n"
    "    if type(o) is dict and ('points' in o or 'seconds' in o):\n        o['points'] = o['seconds'] = 10**6",
    "memory": "import ctypes\nctypes.c_long.from_address(id(1) + 24).value = 0",
    "atexit": "import atexit, os\natexit.register(lambda: open('/tmp/left', 'w').write('x'))",
    "meta path": "import sys\nsys.meta_path.clear(); sys.path.clear(); sys.modules.clear()",
    "recursion limit": "import sys\nsys.setrecursionlimit(30)",
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
def test_a_patched_process_earns_nothing(patch):
    grading = graded(patch, WRONG, limits=QUICK)
    assert grading.points == 0, panel.text(grading.verdicts[0])


LIARS = {
    "always equal": "class L:\n    def __eq__(s, o): return True\n    def __ne__(s, o): return False\n"
    "    shape = (2,)\n    dtype = 'float64'\n",
    "__array__": "class L:\n    def __array__(s, *a, **k): return np.zeros(2)\n",
    "__torch_function__": "class L:\n    @classmethod\n    def __torch_function__(c, *a, **k): return True\n",
    "ndarray subclass": "class L(np.ndarray):\n    def __new__(c): return np.zeros(2).view(c)\n"
    "    def __eq__(s, o): return np.True_\n"
    "    def tobytes(s): return b''\n    def __array_finalize__(s, o): pass\n    def __array_ufunc__(s, *a, "
    "**k): return np.True_\n",
    "tensor subclass": "import torch\nclass L(torch.Tensor):\n    @classmethod\n    def __torch_function__(c, "
    "f, t, a=(), k=None): return torch.ones(())\n"
    "    def numpy(s): raise SystemExit\n",
    "lying length": "class L(list):\n    def __len__(s): return -5\n    def __iter__(s):\n        while True: "
    "yield 1\n",
    "endless list": "class L(list):\n    def __iter__(s):\n        while True: yield 0.0\n",
    "loop": "def L():\n    a = []\n    a.append(a)\n    return a\n",
    "deep": "def L():\n    a = 0\n    for _ in range(100000): a = [a]\n    return a\n",
    "evil repr": "class L:\n    def __repr__(s): raise SystemExit\n    __str__ = __getattr__ = __class__ = __repr__\n",
    "object array": "def L(): return np.array([object(), 1], dtype=object)\n",
    "structured array": "def L(): return np.zeros(2, dtype=[('a', 'f8')])\n",
    "huge number": "def L(): return 10 ** 100000\n",
    "huge array": "def L(): return np.zeros(10 ** 8)\n",
    "zero strides": "def L(): return np.broadcast_to(1.0, (10 ** 9, 3))\n",
    "pickle": "class L:\n    def __reduce__(s): return (__import__('os').system, ('touch /tmp/attnlab-was-here',))\n",
    "bytes": "def L(): return b'\\x80\\x04cos\\nsystem\\n'\n",
    "coroutine": "async def L(): return 1\n",
    "generator": "def L():\n    while True: yield 1\n",
    "nan": "def L(): return np.full(2, np.nan)\n",
}


@pytest.mark.parametrize("liar", LIARS.values(), ids=LIARS)
def test_a_liar_earns_nothing(liar, request):
    source = f"import numpy as np\n{liar}\ndef softmax(x, axis=-1):\n    return L()\n"
    started = time.monotonic()
    grading = graded(source, limits=QUICK)
    assert grading.points == 0, panel.text(grading.verdicts[0])
    assert time.monotonic() - started < 30
    assert not Path("/tmp/attnlab-was-here").exists()
    assert "Traceback" not in panel.text(grading.verdicts[0])


ENDS = {
    "sys.exit": "import sys; sys.exit(0)",
    "SystemExit": "raise SystemExit(0)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "GeneratorExit": "raise GeneratorExit",
    "os._exit": "import os; os._exit(0)",
    "kills itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "kills its group": "import os, signal; os.killpg(0, signal.SIGKILL)",
    "kills its parent": "import os, signal; os.kill(os.getppid(), signal.SIGKILL)",
    "kills everybody": "import os, signal; os.kill(-1, signal.SIGKILL)",
    "kills by number": "import os, signal\nfor n in range(1, 40000):\n    try: os.kill(n, signal.SIGKILL)\n"
    "    except OSError: pass",
    "crashes": "import ctypes; ctypes.string_at(8)",
    "executes": "import os; os.execv('/bin/true', ['true'])",
    "closes the pipe": "import os; os.closerange(3, 256)",
    "loops": "while True: pass",
    "loops and catches": "while True:\n        try:\n            while True: pass\n        except BaseException: pass",
    "sleeps": "import time; time.sleep(1000)",
    "sleeps in C": "import ctypes; ctypes.CDLL(None).sleep(1000)",
    "recurses": "f = lambda: f(); f()",
    "recurses for ever": "import sys; sys.setrecursionlimit(10**9); f = lambda: f(); f()",
    "prints for ever": "while True: print('x' * 1000)",
    "writes for ever": "import os\n    while True: os.write(1, b'x' * 65536)",
    "takes memory": "a = []\n    while True: a.append(bytearray(1 << 24))",
    "takes memory by numpy": "import numpy\n    a = numpy.ones(1 << 36)",
    "takes memory by torch": "import torch\n    a = torch.ones(1 << 36)",
    "multiplies": "import os\n    while True: os.fork()",
    "multiplies by subprocess": "import subprocess, sys\n    while True: subprocess.Popen([sys.executable, "
    "'-c', 'while 1: pass'])",
    "multiplies by multiprocessing": "import multiprocessing\n"
    "    multiprocessing.get_context('fork').Process(target=print).start()",
    "threads": "import threading, time\n    while True: threading.Thread(target=time.sleep, args=(99,), "
    "daemon=True).start()",
    "threads that stay": "import threading, time\n    for _ in range(9): threading.Thread(target=time.sleep, "
    "args=(99,)).start()",
    "files": "n = 0\n    while True:\n        n += 1\n        open(f'f{n}', 'wb').write(b'x' * (1 << 20))",
    "one large file": "f = open('f', 'wb')\n    while True: f.write(b'x' * (1 << 20))",
    "open files": "a = []\n    while True: a.append(open('/dev/null'))",
    "a deep folder": "import os\n    while True: os.mkdir('d'); os.chdir('d')",
    "alarms": "import signal; signal.alarm(0); signal.setitimer(signal.ITIMER_REAL, 0)\n    while True: pass",
}


@pytest.mark.parametrize("place", ["call", pytest.param("cell", marks=pytest.mark.slow)])
@pytest.mark.parametrize("deed", ENDS.values(), ids=ENDS)
def test_what_ends_or_exhausts_a_process_costs_itself_alone(deed, place):
    here = "import numpy as np\n" + WRONG.replace("return x", deed)
    cells = [deed.replace("\n    ", "\n"), *RIGHT] if place == "cell" else [here, *RIGHT[1:]]
    started = time.monotonic()
    grading = graded(*cells, names=("softmax", "log_softmax"), limits=QUICK)
    assert time.monotonic() - started < 40
    assert grading.verdicts[0].points == (6 if place == "cell" else 0), panel.text(grading.verdicts[0])
    assert grading.verdicts[1].points == 5, panel.text(grading.verdicts[1])


SPY = """
import glob, os, pathlib
def look(act):
    try:
        print(act())
    except BaseException as error:
        print("no:", type(error).__name__)
for path in {paths!r}:
    look(lambda: open(path).read())
    look(lambda: os.listdir(path))
    look(lambda: open(path, "a").write("forged"))
    look(lambda: os.symlink(path, "link") or open("link").read())
    look(lambda: open("/proc/1/root" + path).read())
    look(lambda: open("/proc/1/cwd/../.." + path).read())
look(lambda: dict(os.environ))
for n in [1, 2, {pid}, {parent}]:
    for name in ("environ", "cmdline", "maps", "mem"):
        look(lambda: open(f"/proc/{{n}}/{{name}}", "rb").read(100000))
import sys, gc
gc.unfreeze()
f = sys._getframe()
while f:
    look(lambda: str(f.f_locals)[:20000])
    f = f.f_back
look(lambda: [o for o in gc.get_objects() if type(o) is int and o == int("2026" + "1121")])
look(lambda: [v for o in gc.get_objects() if type(o) is dict for k, v in list(o.items()) if k == "seed"])
for fd in range(3, 64):
    look(lambda: os.readlink(f"/proc/self/fd/{{fd}}"))
    look(lambda: os.pread(fd, 100, 0))
look(lambda: __import__("autograder.exercises.ch01_softmax"))
look(lambda: glob.glob("/**/*gradebook*", recursive=True) + glob.glob("/**/solutions*", recursive=False))
"""


def test_no_secret_is_read_and_no_trace_is_left(tmp_path, monkeypatch):
    """The seed, the gradebook, other submissions, the environment, the course: read, listed, written, walked to."""
    secret = "marzipan-7381"
    monkeypatch.setenv("ATTNLAB_SEED", str(SEED))
    monkeypatch.setenv("CANVAS_TOKEN", secret)
    gradebook, other = tmp_path / "gradebook.db", tmp_path / "submitted" / "ben" / "a.ipynb"
    other.parent.mkdir(parents=True)
    gradebook.write_text(secret)
    other.write_text(secret)
    course = Path(isolation.COURSE)
    paths = [str(p) for p in (gradebook, other, other.parent, course, course / "solutions", course / "autograder")]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    source = SPY.format(paths=[*paths, os.path.expanduser("~/.ssh")], pid=os.getpid(), parent=os.getppid())
    grading = graded(source, WRONG)
    seen = str(grading.cells)
    assert "no: " in seen
    assert secret not in seen
    assert str(SEED) not in seen
    assert "exercises" not in seen.replace("exercises.ch01", "")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert grading.points == 0


def test_nothing_stays_in_the_temporary_folder():
    graded("open('left-by-me', 'w').write('x')\nimport tempfile; open(tempfile.mktemp(), 'w').write('x')", WRONG)
    cells = graded("import os, tempfile\nprint(os.listdir('.'), os.listdir(tempfile.gettempdir()))", WRONG).cells
    assert cells[0]["text"] == "[] []\n"


def test_no_network_and_no_neighbour():
    """Loopback, the outside, Unix sockets, abstract sockets: none is reached, and a neighbour is not either."""
    heard = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        port = server.getsockname()[1]
        source = f"""
import socket, urllib.request
for family, address in [(socket.AF_INET, ("127.0.0.1", {port})), (socket.AF_INET6, ("::1", {port})),
                        (socket.AF_UNIX, chr(0) + "attnlab"), (socket.AF_UNIX, "/run/docker.sock")]:
    try:
        s = socket.socket(family); s.connect(address); print("connected")
    except OSError as error: print(error.errno)
try: urllib.request.urlopen("http://127.0.0.1:{port}", timeout=1); print("connected")
except OSError as error: print("no")
"""
        cells = graded(source, WRONG).cells
        with pytest.raises(TimeoutError):
            server.accept()
            heard.set()
    assert "connected" not in cells[0]["text"]
    assert not heard.is_set()


@pytest.mark.parametrize("forged", ["1.0", "6", "True", "float('inf')", "np.float64(6)", "'6'", "{'score': 6}"])
def test_partial_credit_cannot_be_forged(forged, tmp_path):
    """The last value of a test cell is no credit here, whoever wrote it."""
    meta = {"nbgrader": {"grade": True, "grade_id": "softmax", "locked": True, "points": 6, "solution": False}}
    cell = {"cell_type": "code", "metadata": meta, "source": f"import numpy as np\n{forged}", "outputs": []}
    extra = {**cell, "metadata": {"nbgrader": {**meta["nbgrader"], "grade_id": "bonus", "points": 1000}}}
    earned = points(tmp_path / "a.ipynb", notebook(WRONG, cell, cell, extra))
    assert sum(earned.values()) == 0


def test_files_beside_the_notebook_are_not_imported(tmp_path, monkeypatch):
    for name in ("torch.py", "numpy.py", "usercustomize.py", "sitecustomize.py", "autograder.py"):
        (tmp_path / name).write_text("raise SystemExit('imported')")
    startup = tmp_path / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("raise SystemExit('started')")
    monkeypatch.chdir(tmp_path)
    assert points(tmp_path / "a.ipynb", notebook("import numpy, torch, autograder", *RIGHT))["softmax"] == 6
    own = "open('numpy.py', 'w').write('1/0')\nimport sys; sys.path.insert(0, '.')\nimport importlib, numpy"
    assert graded(own, *RIGHT).points == 6


def test_links_and_devices_are_no_submissions(tmp_path):
    real = tmp_path / "real.ipynb"
    real.write_text("{}")
    link = tmp_path / "link.ipynb"
    link.symlink_to(real)
    os.mkfifo(tmp_path / "pipe.ipynb")
    for path in (link, tmp_path / "pipe.ipynb"):
        with pytest.raises(submission.SubmissionError, match="a link or a device"):
            submission.read(path)


def test_markup_in_what_a_submission_says_is_shown_as_text():
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    source = f"import numpy as np\nprint({evil!r})\ndef softmax(x, axis=-1):\n    raise ValueError({evil!r})\n"
    grading = graded(source, f"from IPython.display import HTML, SVG\nHTML({evil!r})", f"{evil!r}")
    page = panel.page(grading.verdicts[0])
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert all(set(o) <= {"text/plain", "image/png"} for c in grading.cells for o in c["outputs"])


def test_a_picture_that_is_none_is_not_shown():
    evil = "from IPython.display import display\ndisplay({'image/png': '\"><script>alert(1)</script>'}, raw=True)"
    assert "script" not in str(graded(evil, WRONG).cells[0]["outputs"])


def test_a_table_of_the_visible_inputs_earns_nothing_with_another_seed():
    """A function that learned by heart what the visible seed asks."""
    seen = []

    def remember(x, axis=-1):
        from attnlab.softmax import softmax

        seen.append((np.array(x, copy=True), axis, softmax(np.asarray(x, float), axis)))
        return seen[-1][2]

    from autograder.judge import judge
    from autograder.student import Here

    (exercise,) = exercises("softmax")
    assert judge(exercise, Here.ours(exercise, remember), VISIBLE_SEED).passed
    table = [(x.tolist(), axis, out.tolist()) for x, axis, out in seen]
    source = f"import numpy as np\ntable = {table!r}\ndef softmax(x, axis=-1):\n    for a, i, out in table:\n"
    source += "        if np.shape(a) == x.shape and i == axis and np.allclose(a, x):\n"
    source += "            return np.array(out)\n    return x\n"
    by_heart = grade([source], [exercise], VISIBLE_SEED)
    secret = grade([source], [exercise], SEED)
    assert by_heart.points > secret.points
    assert secret.points <= 1


def test_an_answer_at_random_earns_nothing():
    for source in (
        "return np.random.rand(*x.shape)",
        "import os; return np.frombuffer(os.urandom(8 * x.size)).reshape(x.shape)",
    ):
        assert graded(f"import numpy as np\ndef softmax(x, axis=-1):\n    {source}\n").points == 0


def test_a_judge_that_looks_like_a_student_is_fine():
    assert graded(SOFTMAX + "\nclass Grade:\n    points = 100\npoints = max_score = 100\n__score__ = 9").points == 6
