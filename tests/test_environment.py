"""environment.yml, the licences and the workflow say what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["project"]
CONDA = yaml.safe_load((HERE / "environment.yml").read_text("utf-8"))
WORKFLOW = yaml.safe_load((HERE / ".github" / "workflows" / "tests.yml").read_text("utf-8"))

# Where conda-forge calls a package otherwise. Its `playwright` is the one for Node.
CONDA_NAMES = {"torch": "pytorch", "playwright": "playwright-python"}
# Not there, or not surely: pip brings these into the conda environment.
BY_PIP = {"axe-playwright-python", "copydetect", "jupyterlab-language-pack-zh-CN", "math-core", "ziamath"}


def split(requirement: str) -> tuple[str, str]:
    """`jupyterlab>=4.4,<5` → (jupyterlab, >=4.4,<5)"""
    match = re.fullmatch(r"([\w.-]+)(?:\[[^]]*\])?\s*(.*)", requirement)
    assert match, requirement
    return match[1], match[2]


def wanted() -> dict[str, str]:
    extras = PYPROJECT["optional-dependencies"].values()
    return dict(split(requirement) for group in [PYPROJECT["dependencies"], *extras] for requirement in group)


def test_environment_yml_asks_for_what_pyproject_asks_for():
    by_conda = dict(split(entry) for entry in CONDA["dependencies"] if isinstance(entry, str))
    expected = {CONDA_NAMES.get(name, name): versions for name, versions in wanted().items() if name not in BY_PIP}
    build = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    expected |= dict(map(split, build)) | {"python": PYPROJECT["requires-python"], "pip": ""}
    assert by_conda == expected


def test_what_conda_forge_lacks_comes_by_pip_with_the_course_itself():
    (by_pip,) = (entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict))
    assert by_pip[-1] == "--editable ."
    assert dict(map(split, by_pip[:-1])) == {name: wanted()[name] for name in BY_PIP}


def test_the_environment_is_called_as_the_project_is():
    assert CONDA["name"] == PYPROJECT["name"]
    assert CONDA["channels"] == ["conda-forge", "nodefaults"]


def test_both_licences_are_there_and_say_what_they_cover():
    assert PYPROJECT["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (HERE / "LICENSE").read_text("utf-8")
    text = (HERE / "LICENSE-TEXT.md").read_text("utf-8")
    assert "https://creativecommons.org/licenses/by/4.0/" in text and "[LICENSE](LICENSE)" in text


def test_ci_runs_the_test_command_and_nothing_more():
    script = (HERE / ".ci" / "run").read_text("utf-8")
    assert re.findall(r"lab\.py.*", script) == ["lab.py test"]
    assert not re.search(r"\b(pip|apt-get|pytest|curl)\b", script)


def test_the_workflow_runs_it_on_every_system_and_python():
    job = WORKFLOW["jobs"]["everywhere"]
    matrix = job["strategy"]["matrix"]
    assert {system.split("-")[0] for system in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert f">={matrix['python'][0]}" == PYPROJECT["requires-python"]
    minors = [int(version.removeprefix("3.")) for version in matrix["python"]]
    assert minors == list(range(minors[0], minors[0] + 4))
    assert ".ci/run" in [step.get("run") for step in job["steps"]]


@pytest.mark.parametrize("name", [split(requirement)[0] for requirement in PYPROJECT["dependencies"]])
def test_colabs_versions_satisfy_what_a_student_needs(name):
    lines = (HERE / ".ci" / "colab.txt").read_text("utf-8").splitlines()
    colab = dict(split(line) for line in lines if line and not line.startswith("#"))
    assert "nbgrader" not in colab
    has = tuple(map(int, re.findall(r"\d+", colab[name])[:2]))
    needs = tuple(map(int, re.findall(r"\d+", wanted()[name])[:2]))
    assert has >= needs
