"""The commands as a user runs them: exit codes, what is printed, what is left on disk."""

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from isotypic.cli.main import COMMANDS

FAST = ("training.steps=4", "training.evaluations=2", "model.stages=[[4], [4]]")


def settings(*assignments):
    return [word for assignment in assignments for word in ("--set", assignment)]


@pytest.fixture
def photos(tmp_path):
    """Forty small images in two class folders: bright discs and dark ones."""
    generator = np.random.default_rng(0)
    for name, level in (("dark", 60), ("bright", 180)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for i in range(20):
            pixels = np.clip(generator.normal(level, 20, (17, 20)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    return tmp_path / "photos"


def test_help_lists_the_commands_and_does_not_load_torch(isotypic):
    answer = isotypic("--help")
    assert answer.returncode == 0
    assert all(name in answer.stdout for name in COMMANDS)
    code = "import sys, isotypic.cli.main as m; m.application(None); print('torch' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == ["False"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(isotypic, name):
    answer = isotypic(name, "--help")
    assert answer.returncode == 0
    assert f"Example: isotypic {name}" in " ".join(answer.stdout.split())


def test_train_evaluate_predict_on_a_folder(isotypic, photos, tmp_path):
    run = tmp_path / "run"
    fast = settings(*FAST, "model.group=p4m", "training.steps=60", "model.stages=[[16], [16]]")
    trained = isotypic("train", "classify", "--data", photos, "--out", run, *fast)
    assert trained.returncode == 0, trained.stderr
    assert {"run.yaml", "weights.safetensors"} <= {path.name for path in run.iterdir()}
    evaluated = isotypic("evaluate", run, "--group", "p4m")
    assert evaluated.returncode == 0, evaluated.stderr
    assert "0 images change their class" in " ".join(evaluated.stdout.split())
    assert float(re.search(r"standard deviation: (\S+)", " ".join(evaluated.stdout.split()))[1]) < 1e-10
    out = tmp_path / "predictions.csv"
    predicted = isotypic("predict", photos, "--run", run, "--out", out)
    assert predicted.returncode == 0, predicted.stderr
    table = pd.read_csv(out)
    assert list(table.columns) == ["file", "class", "bright", "dark"]
    assert len(table) == 40
    right = [Path(file).parent.name == name for file, name in zip(table["file"], table["class"], strict=True)]
    assert np.mean(right) > 0.9
    one = isotypic("predict", photos / "dark" / "00.png", "--run", run, "--out", out)
    assert one.returncode == 0, one.stderr
    assert len(pd.read_csv(out)) == 1


def test_train_and_evaluate_print_the_same_figures(isotypic, tmp_path):
    trained = isotypic("train", "digits", "--out", tmp_path / "run", *settings(*FAST))
    evaluated = isotypic("evaluate", tmp_path / "run")
    assert re.search(r"accuracy +. +AUC +. +sensitivity +. +specificity", evaluated.stdout)
    assert len(_figures(evaluated.stdout)) == 6
    assert _figures(trained.stdout) == _figures(evaluated.stdout)
    elsewhere = isotypic("evaluate", tmp_path / "run", "--part", "validation")
    assert _figures(elsewhere.stdout) != _figures(evaluated.stdout)


def test_a_segmenter_is_evaluated_on_its_own_images_and_on_others(isotypic, tmp_path):
    sticks = {"size": 48, "count": 2, "width": 48, "length": "[70, 70]", "train_images": 6, "test_images": 3}
    small = "{" + ", ".join(f"{key}: {value}" for key, value in sticks.items()) + "}"
    tiny = ("model.stages=[4, 4]", "model.head_width=4", "grouping={embedding: {method: k-means, clusters: 2}}")
    fast = settings(f"data.sticks={small}", *tiny, "training.steps=3", "training.evaluations=1")
    trained = isotypic("train", "sticks", "--out", tmp_path / "run", *fast)
    assert trained.returncode == 0, trained.stderr
    evaluated = isotypic("evaluate", tmp_path / "run")
    assert evaluated.returncode == 0, evaluated.stderr
    assert _figures(trained.stdout) == _figures(evaluated.stdout) != []
    assert "pixels that change when moved: " in evaluated.stdout
    fresh = isotypic("evaluate", tmp_path / "run", *settings("data.sticks.seed=9", "data.sticks.test_images=5"))
    assert "5 images" in fresh.stdout
    assert _figures(fresh.stdout) != _figures(evaluated.stdout)
    wrong = isotypic("evaluate", tmp_path / "run", "--part", "tests")
    assert wrong.returncode == 2
    assert "expected --part train, validation, test, all, received 'tests'" in wrong.stderr


def _figures(printed):
    """The rows of a printed table that hold a percentage."""
    return [line for line in printed.splitlines() if re.match(r"\W*(upright|all|\d+°).*%", line)]


def test_study_on_ones_own_folder(isotypic, photos, tmp_path):
    words = settings(*FAST, "study.seeds=1", "study.sizes=[0.5, 1.0]")
    answer = isotypic("study", "classify", "--data", photos, "--out", tmp_path / "study", *words)
    assert answer.returncode == 0, answer.stderr
    assert "report:" in answer.stdout
    assert (tmp_path / "study" / "report.html").stat().st_size > 50_000
    assert len(pd.read_csv(tmp_path / "study" / "table.csv")) == 8


def test_bad_requests_exit_with_2_in_one_line_and_leave_nothing(isotypic, photos, tmp_path):
    for words, text in _bad_requests(photos, tmp_path):
        out = tmp_path / "out"
        answer = isotypic(*words, *(() if "--out" in words else ("--out", out)))
        assert answer.returncode == 2, (words, answer.stdout, answer.stderr)
        line = answer.stderr.strip()
        assert line.count("\n") == 0, line
        assert re.search(text, line), (words, line)
        assert not out.exists() or not [path for path in out.rglob("*") if path.is_file()], words


def _bad_requests(photos, tmp_path):
    taken, empty, single, corrupt = (tmp_path / name for name in ("taken", "empty", "single", "corrupt"))
    for folder in (taken, empty, single / "only", corrupt / "a", corrupt / "b"):
        folder.mkdir(parents=True)
    (taken / "notes.txt").write_text("mine")
    image = Image.fromarray(np.zeros((8, 8), np.uint8))
    for path in (single / "only" / "1.png", single / "only" / "2.png", corrupt / "a" / "1.png"):
        image.save(path)
    (corrupt / "b" / "1.png").write_bytes(b"not a picture")
    return [
        (("study", "digitz"), "unknown recipe 'digitz': did you mean 'digits'"),
        (("study", "classify", "--data", tmp_path / "nowhere"), "no such file or folder"),
        (("study", "classify", "--data", empty), "empty|no images"),
        (("study", "classify", "--data", single), "one class only"),
        (("study", "classify", "--data", corrupt), "1.png"),
        (("study", "digits", "--set", "model.grup=p4"), "unknown key 'model.grup': did you mean 'group'"),
        (("study", "digits", "--set", "study.sizes=[99999]"), "received 99999"),
        (("study", "digits", "--out", taken), "found 'notes.txt'"),
        (("train", "digits", "--out", taken), "found other files"),
        (("train", "digits", "--set", "model.group=p7"), "unknown group of the plane 'p7'"),
        (("predict", photos, "--run", empty), "expected a run"),
        (("predict", tmp_path / "none.png", "--run", empty), "expected a run"),
    ]


def test_a_run_whose_weights_do_not_fit_is_refused(isotypic, tmp_path):
    run = tmp_path / "run"
    assert isotypic("train", "digits", "--out", run, *settings(*FAST)).returncode == 0
    text = (run / "run.yaml").read_text()
    (run / "run.yaml").write_text(text.replace("    - - 4\n", "    - - 5\n", 1))
    answer = isotypic("evaluate", run)
    assert answer.returncode == 2
    assert "are of another network" in answer.stderr


def test_trained_weights_are_reproducible(isotypic, tmp_path):
    from safetensors.torch import load_file

    runs = [tmp_path / name for name in ("a", "b", "c")]
    for run, seed in zip(runs, (0, 0, 1), strict=True):
        words = ("--seed", seed, *settings(*FAST, "augmentation=rot90"))
        assert isotypic("train", "digits", "--out", run, *words).returncode == 0
    a, b, c = (load_file(run / "weights.safetensors") for run in runs)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


KEPT_AT_EVERY_STEP = """
from isotypic.cli.main import main
from isotypic.tasks.checkpoints import Checkpoint
Checkpoint.__init__.__defaults__ = (0.0,)
main()
"""


def test_a_killed_training_goes_on_and_ends_the_same(isotypic, tmp_path):
    """SIGKILL in the middle; then the same command, and the run is that of one that was not killed."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    words = ("train", "digits", *settings(*FAST, "training.steps=300", "augmentation=d4"), "--out")
    kept = killed / "checkpoint.ckpt"
    with subprocess.Popen([sys.executable, "-c", KEPT_AT_EVERY_STEP, *words, killed], stdout=subprocess.PIPE) as first:
        while not kept.exists():
            assert first.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        first.kill()
    assert [path.name for path in killed.iterdir() if path.is_file() and path.name[0] != "."] == [kept.name]
    again, once = isotypic(*words, killed), isotypic(*words, whole)
    assert f"going on from {kept}" in again.stdout
    assert "going on" not in once.stdout
    pictures = ["examples.png", "learned-filters.png"]
    found = sorted(path.name for path in killed.iterdir() if path.name[0] != ".")
    assert found == [*pictures, "run.yaml", "weights.safetensors"]
    assert (killed / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert _figures(again.stdout) == _figures(once.stdout) != []
    taken = isotypic(*words, killed)
    assert (taken.returncode, "found a run" in taken.stderr) == (2, True)


def test_a_training_with_other_settings_does_not_go_on(isotypic, tmp_path, monkeypatch):
    words = ("train", "digits", "--out", tmp_path, *settings(*FAST))
    monkeypatch.setattr("isotypic.studies.systems.classification.evaluate", _fail)
    with pytest.raises(RuntimeError, match="no test"):
        isotypic(*words)
    monkeypatch.undo()
    other = isotypic(*words, "--set", "training.learning_rate=0.1")
    assert other.returncode == 2
    assert "another recipe, other images or another seed: give another --out, or delete it" in other.stderr


def _fail(*_):
    raise RuntimeError("no test")


def test_check_names_the_layer_that_breaks(isotypic, tmp_path, monkeypatch):
    (tmp_path / "nets_of_mine.py").write_text(
        "from torch import nn\nfrom isotypic.nn import GroupConv2d, InvariantHead\n"
        "def broken():\n"
        "    first, last = GroupConv2d(1, 2, 3, 'p4m', lift=True), InvariantHead(2, 3, 'p4m')\n"
        "    return nn.Sequential(first, nn.MaxPool2d(2), last)\n"
    )
    monkeypatch.chdir(tmp_path)
    answer = isotypic("check", "nets_of_mine:broken", "--size", "17x17")
    assert answer.returncode == 1
    assert "breaks here: stride 2 with kernel 2 and padding 0 on 15" in answer.stdout
    assert isotypic("check", "nets_of_mine:broken", "--size", "18x18").returncode == 0
    for words, text in (
        (("nets_of_mine:nothing", "--size", "18x18"), "expected a function 'nothing' in a module 'nets_of_mine'"),
        (("nets_of_mine", "--size", "18x18"), "expected a run's folder or module:factory"),
        (("nets_of_mine:broken", "--size", "18"), "expected --size such as 96x96, received '18'"),
    ):
        answer = isotypic("check", *words)
        assert answer.returncode == 2
        assert text in answer.stderr
