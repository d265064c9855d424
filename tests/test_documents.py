"""Every Python snippet of README and docs runs; every command of the README exists with its options."""

import inspect
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from isotypic.cli.main import COMMANDS
from isotypic.studies.folder import StudyRecords
from isotypic.studies.records import UPRIGHT

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page, language):
    return [body for kind, body in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_snippets_run(page):
    namespace = {}
    for body in blocks(page, "python"):
        exec(compile(body, str(page), "exec"), namespace)


LAUNCHER = "--no-python "
"""What stands before it is torchrun's."""


def commands():
    for page in PAGES:
        for body in blocks(page, "console"):
            yield from ((page.name, line.split("#")[0].strip()) for line in body.splitlines() if line.strip())


@pytest.mark.parametrize(("page", "line"), list(commands()), ids=str)
def test_commands_exist_with_their_options(page, line):
    program, name, *words = shlex.split(line.partition(LAUNCHER)[2] or line)
    if program == "make":
        assert re.search(rf"^{name}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    assert program == "isotypic"
    assert name in COMMANDS
    command = import_module(f"isotypic.cli.{name}").command
    if not inspect.isfunction(command):  # a group of commands
        command = import_module(f"isotypic.cli.{name}_{words[0]}").command
    parameters = inspect.signature(command).parameters
    for option in (word.removeprefix("--").replace("-", "_") for word in words if word.startswith("--")):
        assert option in {parameter.rstrip("_") for parameter in parameters}, option


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


TABLE = re.compile(r"<!-- table: (\S+) -->\n\n(?:\|.*\n)(?:\|[-:| ]+\n)((?:\|.*\n)+)")


def tables():
    for page in PAGES:
        for study, rows in TABLE.findall(page.read_text(encoding="utf-8")):
            yield pytest.param(study, [row.strip("| \n").split(" | ") for row in rows.splitlines()], id=study)


@pytest.mark.parametrize(("study", "rows"), list(tables()))
def test_tables_of_studies_are_those_of_their_records(study, rows):
    """A row begins with its arm; then come the measure of every seed at the largest size, upright, and their mean."""
    records = StudyRecords.load(ROOT / "docs" / "records" / study)
    arms = {arm.label: arm for arm in records.info.arms}
    assert [row[0] for row in rows] == list(arms)
    for label, *printed in rows:
        found = records.scores(arms[label], records.info.sizes[-1], UPRIGHT)
        means = [float(scores.mean()) for scores in found.values()]
        wanted = [f"{value:.3f}".lstrip("0") for value in (*means, sum(means) / len(means))]
        assert printed[: len(wanted)] == wanted, label


def test_the_digits_table_of_the_readme_is_one_that_a_study_can_print():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^\| .*CNN.* \| \d\d\.\d ± \d\.\d", text, re.MULTILINE)) == 4
