"""The examples run, and say what they promise."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from laws import BROKEN

from isotypic.data.augmentations.catalogue import AUGMENTATIONS, REPORTS

FOLDER = Path(__file__).parents[1] / "examples"
DOCS = Path(__file__).parents[1] / "docs"
FLOAT32 = 1e-4  # an ensemble of float32 networks, relative to the spread of the logits


def example(name, monkeypatch):
    found = spec_from_file_location(name, FOLDER / f"{name}.py")
    module = module_from_spec(found)
    monkeypatch.setitem(sys.modules, name, module)
    found.loader.exec_module(module)
    return module


def test_spheres_show_which_network_commutes_with_rotations(monkeypatch, tmp_path):
    spheres = example("spheres", monkeypatch)
    errors = spheres.main(tmp_path, bandwidth=12)
    assert errors["S2CNN"] < 0.5 < errors["CNN"]
    page = (DOCS / "sphere.md").read_text(encoding="utf-8")
    for name in (spheres.DIGITS, spheres.EQUIVARIANCE):
        assert (tmp_path / name).is_file()
        assert f"](figures/{name})" in page


@pytest.fixture
def symmetrise_digits(monkeypatch):
    module = example("symmetrise_digits", monkeypatch)
    threads = torch.get_num_threads()
    yield module
    torch.set_num_threads(threads)


def test_the_symmetrised_network_is_the_ensemble(symmetrise_digits, capsys):
    assert symmetrise_digits.main(quick=True) < FLOAT32
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:]] == [f"| {name}" for name in symmetrise_digits.NAMES]


def test_the_network_itself_is_not(symmetrise_digits):
    data = symmetrise_digits.load_digits()
    torch.manual_seed(0)
    plain = symmetrise_digits.train(symmetrise_digits.plain_cnn(), data, 1, 1e-2)
    logits = symmetrise_digits.logits_when_turned(plain, data.test_images)
    assert (logits[0] - logits.mean(0)).abs().max() / logits.std() > BROKEN


def test_every_augmentation_has_its_picture_and_its_line_in_the_docs(monkeypatch, tmp_path):
    augmentations = example("augmentations", monkeypatch)
    augmentations.main(tmp_path, augmentations.immunohistochemistry())
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in (DOCS / "figures").glob("augmentation-*.png")}
    page = (DOCS / "augmentation.md").read_text(encoding="utf-8")
    assert all(f"](figures/{name})" in page for name in drawn)
    shown = {name for names in augmentations.SHEETS.values() for name in names}
    assert {*AUGMENTATIONS} - shown == {"none", "flips25", "flips30"}, "these are flips with other odds"
    for name in {*AUGMENTATIONS} - {"none"}:
        assert f"\n| `{name}` |" in page
    for name, parts in REPORTS.items():
        assert f"\n| `{name}` | `{'+'.join(parts)}` |" in page
    with pytest.raises(SystemExit, match="expected colours and 96 pixels a side from the corner 450 0"):
        augmentations.main(tmp_path, augmentations.immunohistochemistry(), (450, 0))
