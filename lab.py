#!/usr/bin/env python3
"""The one command of Attention Lab. It needs Python and nothing else.

  python lab.py                       open the course in JupyterLab
  python lab.py test                  run every test
  python lab.py test tests/lib -x     or some of them: what follows goes to pytest
  python lab.py setup                 only make the environment
  python lab.py lock                  choose the packages' versions anew (for authors; needs uv)

Every other word goes to the `attnlab` command, for example:

  python lab.py progress                                        how far you have come, and what comes next
  python lab.py check notebooks/01_softmax/01_softmax.ipynb     before handing in: what would be graded
  python lab.py update                                          the newest course, with your answers in it
  python lab.py grade                                           grade what students handed in
  python lab.py demo                                            see a class graded, from release to report
  python lab.py build --check                                   do the notebooks match their sources?
  python lab.py book --open                                     make the book and read it in the browser
  python lab.py doctor                                          what isolation grading has on this machine
  python lab.py grade --help                                    what one of them can do

The first start makes the folder .venv beside this file: about 2 GB and a few minutes, during which it shows
what it does. Stop it when you like, the next start goes on from there; to begin anew, delete .venv.
What pip has been told (a mirror, a proxy, a folder of wheels: `pip config list`) holds here too.
The log of the set-up is .attnlab/setup.log.
"""

# This file parses on Python 3.6, so that an old Python can say that it is too old. The work is done in course/.
import os
import re
import sys


def too_old(version):
    """A sentence if the course does not run on this version of Python, else None."""
    pyproject = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pyproject.toml")
    with open(pyproject, encoding="utf-8") as file:
        needed = re.findall(r'^requires-python = ">=(\d+)\.(\d+)"', file.read(), re.MULTILINE)[0]
    if tuple(version[:2]) >= tuple(map(int, needed)):
        return None
    found = "{}.{} ({})".format(*version[:2], sys.executable)
    newer = "https://www.python.org/downloads has newer ones"
    return "the course needs Python {}.{} or newer, and this is {}; {}".format(*needed, found, newer)


def on_every_core():
    """All tests, on up to four cores: each has a PyTorch, a judge and a browser of its own in memory."""
    return ["-n", str(min(4, os.cpu_count() or 1)), "--dist", "loadscope"]


def main(words):
    word, rest = (words[0], words[1:]) if words else ("open", [])
    if word in ("-h", "--help", "help") or (word in ("setup", "lock") and rest):
        print(__doc__.strip())
        return 0 if {word, *rest} & {"-h", "--help", "help"} else 2
    sentence = too_old(sys.version_info)
    if sentence:
        print("lab.py: " + sentence, file=sys.stderr)
        return 2

    from course import environment
    from course.progress import Console, SetUpError, explain

    console = Console(sys.stdout)
    try:
        if word == "lock":
            return environment.write_lock()
        environment.set_up(console)
        if word == "setup":
            console.say("The environment is ready. `python lab.py` opens the course.")
            return 0
        if word == "test":
            environment.add_system_parts(console)
            os.chdir(environment.ROOT)
            environment.hand_over(["-m", "pytest", *(rest or on_every_core())])
        os.environ["ATTNLAB_CALLED"] = "python lab.py"
        # -P: a file of the student's called random.py must not stand in for Python's.
        environment.hand_over(["-P", "-m", "course", word, *rest])
    except KeyboardInterrupt:
        console.say("Stopped. The same command goes on from here.")
        return 130
    except SetUpError as error:
        sentence = str(error)
    except OSError as error:
        sentence = "the set-up did not succeed: " + explain(str(error))
    console.finish()
    log = environment.LOG
    print("lab.py: {}.{}".format(sentence, f"\n  The log: {log}" if log.exists() else ""), file=sys.stderr)
    return 2


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console without "·" shows "?"
    sys.exit(main(sys.argv[1:]))
