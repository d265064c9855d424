"""``isotypic check --image``: the picture, the exit codes, and what is refused."""

import re
import sys

import numpy as np
import pytest
from PIL import Image

from isotypic.cli.main import main

NETWORKS = """
import isotypic
from torch import nn
def plain():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))
def dense():
    return isotypic.equivariant(plain(), "p4m", input_shape=(1, 16, 16))
def classes():
    return isotypic.equivariant(nn.Sequential(plain(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "p4")
def volumes():
    return nn.Conv3d(1, 1, 3)
"""


@pytest.fixture
def check(monkeypatch, capfd, tmp_path):
    """Run the command in a folder with networks and images: exit code, output, errors."""
    (tmp_path / "networks_to_check.py").write_text(NETWORKS)
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 255, (17, 20), np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(generator.integers(0, 255, (20, 20, 3), np.uint8)).save(tmp_path / "colour.png")
    pages = [Image.fromarray(generator.integers(0, 255, (9, 9), np.uint8)) for _ in range(3)]
    pages[0].save(tmp_path / "volume.tif", save_all=True, append_images=pages[1:])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(subject, *words):
        name = subject if "/" in subject else f"networks_to_check:{subject}"
        monkeypatch.setattr(sys, "argv", ["isotypic", "check", name, *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    yield run
    sys.modules.pop("networks_to_check", None)


@pytest.mark.parametrize(
    ("subject", "words", "code"),
    [
        ("dense", ("--image", "grey.png"), 0),
        ("dense", ("--image", "colour.png", "--size", "24x17"), 0),
        ("classes", ("--image", "grey.png", "--group", "p4"), 0),
        ("plain", ("--image", "grey.png"), 1),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture_is_written(check, tmp_path, subject, words, code, suffix):
    out = tmp_path / f"picture{suffix}"
    found, printed, errors = check(subject, *words, "--out", out)
    assert found == code, errors
    assert f"picture: {out}" in printed
    if suffix == ".svg":
        text = out.read_text()
        assert "<svg" in text
    else:
        pixels = np.asarray(Image.open(out).convert("RGB"))
        assert min(pixels.shape[:2]) > 500
        assert pixels.std() > 5


def test_the_picture_of_a_run_is_of_the_image_as_predict_prepares_it(check, tmp_path, monkeypatch):
    run = tmp_path / "run"
    words = ["train", "digits", "--out", str(run), "--set", "training.steps=2", "--set", "training.evaluations=1"]
    monkeypatch.setattr(
        sys, "argv", ["isotypic", *words, "--set", "model.stages=[[4], [4]]", "--set", "model.group=p4m"]
    )
    with pytest.raises(SystemExit):
        main()
    assert check(f"{tmp_path}/run", "--image", "grey.png")[0] == 0
    assert (tmp_path / "check.png").is_file()
    assert check(f"{tmp_path}/run", "--size", "9x9")[0] == 0
    code, _, errors = check(f"{tmp_path}/run", "--image", "colour.png")
    assert code == 2
    assert "expected an image of 1 channels, received colour.png with 3" in errors


@pytest.mark.parametrize(
    ("subject", "words", "text"),
    [
        ("dense", (), "expected --size such as 96x96, or an --image"),
        ("dense", ("--size", "16x16", "--out", "a.png"), "expected an --image to draw with --out"),
        ("dense", ("--image", "grey.png", "--out", "a.txt"), "expected --out to end in .png, .svg, .pdf"),
        ("dense", ("--image", "volume.tif"), "expected one image, received a stack of 3 planes"),
        ("dense", ("--image", "none.png"), "no such image file"),
        ("volumes", ("--image", "grey.png"), "expected a network of the plane with --image"),
        ("dense", ("--image", "grey.png", "--channels", "2"), "expected an image of 2 channels"),
        ("dense", ("--size", "0x16"), "expected --size such as 96x96"),
    ],
)
def test_bad_requests_are_one_line_and_leave_no_picture(check, tmp_path, subject, words, text):
    code, _, errors = check(subject, *words)
    assert code == 2
    assert errors.strip().count("\n") == 0
    assert re.search(text, errors), errors
    assert not list(tmp_path.glob("check.png"))


def test_without_matplotlib_the_extra_is_named(check, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, errors = check("dense", "--image", "grey.png")
    assert code == 2
    assert 'pip install "isotypic[report]"' in errors
