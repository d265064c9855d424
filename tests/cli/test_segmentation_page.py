"""docs/segmentation.md: its commands run in their order, its recipe trains, its tables name what there is."""

import inspect
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image
from segmenters import material, saved, scene

from isotypic.cli.segment import command
from isotypic.data.catalogue import LABELLED
from isotypic.inference.writers.catalogue import WRITERS
from isotypic.models import packaged as lookup
from isotypic.models.heads import HeadChoice
from isotypic.studies.spec import make_plan
from isotypic.tasks.recipe import read_recipe, recipe_names, recipe_of, with_request

PAGE = (Path(__file__).parents[2] / "docs" / "segmentation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SEGMENT = [line for kind, body in BLOCKS if kind == "console" for line in body.splitlines() if " segment " in line]


def recipe_text():
    (text,) = (body for kind, body in BLOCKS if kind == "yaml")
    return text


def cells_of(header):
    """The first cells of the rows of the table below a header."""
    rows = PAGE.split(f"\n| {header} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [row.split("|")[1].strip() for row in rows]


def code(cells):
    return [span for cell in cells for span in re.findall(r"`([^`]+)`", cell)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with everything that the page names; the recipe trains for two steps."""
    folder, found = tmp_path_factory.mktemp("place"), material()
    for part, arrays in (("images", found.labelled.images), ("labels", found.labelled.labels)):
        (folder / "my_cells" / part).mkdir(parents=True)
        for number in range(12):
            pixels = np.asarray(arrays[number]).astype(np.uint8).reshape(48, 48)
            Image.fromarray(pixels).save(folder / "my_cells" / part / f"{number:02}.png")
    for name in ("slides", "new_images"):
        (folder / name).mkdir()
        Image.fromarray(scene(59, 53)[0]).save(folder / name / f"{name}.png")
    Image.fromarray(scene(59, 53)[0]).save(folder / "photo.png")
    stack = np.broadcast_to(scene(59, 53)[0], (4, 2, 59, 53))
    tifffile.imwrite(folder / "stack.ome.tif", stack, metadata={"axes": "ZCYX", "Channel": {"Name": ["GFP", "DAPI"]}})
    raw = yaml.safe_load(recipe_text())
    short = {**raw, "training": {**raw["training"], "steps": 2}, "data": {**raw["data"], "crop": 48}}
    (folder / "cells.yaml").write_text(yaml.safe_dump(short))
    saved(folder / "pretrained" / "nuclei")
    return folder


@pytest.fixture
def at(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(lookup, "packaged_root", lambda: place / "pretrained")
    return place


@pytest.fixture
def trained(at, isotypic):
    if not (at / "runs" / "cells" / "run.yaml").is_file():
        assert "isotypic train cells.yaml --data my_cells/ --out runs/cells\n" in PAGE
        answer = isotypic(*shlex.split("train cells.yaml --data my_cells/ --out runs/cells"))
        assert answer.returncode == 0, answer.stderr
    return at / "runs" / "cells"


def test_the_recipe_trains_what_it_says(trained):
    said, made = yaml.safe_load(recipe_text()), yaml.safe_load((trained / "run.yaml").read_text())
    assert recipe_of(said).model.model_dump(mode="json") == made["recipe"]["model"]
    assert made["recipe"]["data"]["dataset"] == "labelled_folder"
    assert made["image_shape"] == [1, 48, 48]
    assert set(made["normalisation"]) == {"low", "high", "least"}


@pytest.mark.parametrize("line", SEGMENT)
def test_the_commands_segment(line, isotypic, at, trained):
    program, *words = shlex.split(line)
    answer = isotypic(*words)
    assert (program, answer.returncode) == ("isotypic", 0), answer.stderr
    out = at / (words[words.index("--out") + 1] if "--out" in words else "segmentation")
    formats = words[words.index("--save") + 1].split(",") if "--save" in words else ["labels", "overlay", "csv"]
    stem = Path(words[1]).stem
    assert {path.name for path in out.glob(f"{stem}*")} == {stem + WRITERS[each].ending for each in formats}


@pytest.mark.parametrize("option", code(cells_of("option")))
def test_the_options_are_taken(option, isotypic, at, trained, tmp_path):
    needed = {"--channel": "0", "--plane": "0"}
    words = shlex.split(option)
    rest = [word for pair in needed.items() if pair[0] != words[0] for word in pair]
    answer = isotypic("segment", "stack.ome.tif", "--run", trained, "--out", tmp_path, "--save", "csv", *rest, *words)
    assert answer.returncode == 0, answer.stderr


def test_the_study_asks_its_question(at):
    assert "isotypic study cells.yaml --data my_cells/ --out runs/question\n" in PAGE
    plan = make_plan(with_request(read_recipe("cells.yaml"), at / "my_cells", []), at / "plan")
    assert len(plan.cells) == 2 * 2 * 2 * 3


def test_the_tables_name_what_there_is():
    assert code(cells_of("heads")) == [choice.value for choice in HeadChoice]
    assert code(cells_of("`--save`")) == [each.value for each in WRITERS]
    files = re.findall(r"\| `(\w+)` \| `([^`]+)` \|", PAGE)
    assert dict(files) == {each.value: writer.ending for each, writer in WRITERS.items()}
    assert {name for name in code(cells_of("name")) if ":" not in name} == set(LABELLED)
    options = {word for span in code(cells_of("option")) for word in span.split() if word.startswith("--")}
    there = {f"--{name.replace('_', '-')}" for name in inspect.signature(command).parameters}
    assert {option.replace("--no-", "--") for option in options} <= there


def test_its_settings_are_settings():
    raw = yaml.safe_load(recipe_text())
    settings = re.findall(r"--set ([\w.]+=[^`\s)]+)", PAGE)
    assert settings
    for setting in settings:
        assert recipe_of(with_request(raw, None, [setting])) != recipe_of(raw)


def test_its_studies_come_with_the_package():
    lines = [line for kind, body in BLOCKS if kind == "console" for line in body.splitlines() if " study " in line]
    names = {line.split()[2] for line in lines} - {"cells.yaml"}
    assert names <= set(recipe_names())
    assert names == {name for name in recipe_names() if read_recipe(name).get("task") == "segmentation"}
    assert {f"### {name}" for name in names} <= set(PAGE.splitlines())


def test_a_table_that_names_too_much_is_seen():
    assert code(["`one`, `two: {}` and more", "three"]) == ["one", "two: {}"]
    with pytest.raises(IndexError):
        cells_of("no such header")
