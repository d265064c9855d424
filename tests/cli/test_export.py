"""``isotypic export``: images in as they are stored, the probabilities of ``predict`` out."""

import json
import sys

import numpy as np
import onnxruntime
import pytest
import torch

from isotypic.cli.main import main
from isotypic.inference.run import load_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A network trained on the digits for a few steps."""
    folder = tmp_path_factory.mktemp("trained") / "digits"
    fast = ("training.steps=4", "training.evaluations=2", "model.stages=[[4], [4]]", "model.group=p4m")
    words = ["train", "digits", "--out", str(folder), *(word for setting in fast for word in ("--set", setting))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["isotypic", *words])
        with pytest.raises(SystemExit):
            main()
    return folder


def images(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_onnx_takes_stored_images_and_gives_the_probabilities_of_predict(isotypic, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = isotypic("export", run, "--format", "onnx")
    assert answer.returncode == 0, answer.stderr
    assert f"{tmp_path / 'digits.onnx'} (" in answer.stdout
    assert "sizes      8 x 8\n" in answer.stdout
    assert "image: float32 [batch, 1, y, x], values 0 to 255" in answer.stdout
    session = onnxruntime.InferenceSession(tmp_path / "digits.onnx")
    stored, trained = images(5, 1, 8, 8), load_run(run)
    (found,) = session.run(["output"], {"image": stored.astype(np.float32)})
    assert np.abs(found - trained.probabilities(stored).numpy()).max() < 1e-5
    assert np.abs(found - trained.probabilities(stored[::-1]).numpy()).max() > 1e-3
    entries = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    assert entries["classes"] == list(trained.classes)
    assert entries["values"] == [0, 255]


def test_a_program_of_another_size(isotypic, run, tmp_path):
    out = tmp_path / "deep" / "net.pt2"
    answer = isotypic("export", run, "--format", "torch", "--size", "13x16", "--out", out)
    assert answer.returncode == 0, answer.stderr
    assert "sizes      13 x 16\n" in answer.stdout
    stored = images(2, 1, 13, 16)
    found = torch.export.load(out).module()(torch.from_numpy(stored).float())
    assert (found - load_run(run).probabilities(stored)).abs().max() < 1e-5
    free = isotypic("export", run, "--format", "torch", "--size", "13x16", "--out", out, "--free-size")
    assert "sizes      13 + 2 k x 16 + 2 k\n" in free.stdout


def test_bad_requests_exit_with_2_and_leave_nothing(isotypic, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, text in (
        ((run, "--format", "onx"), "unknown format 'onx': did you mean 'onnx'"),
        ((run, "--format", "onnx", "--out", "net.pt2"), "expected --out to end in .onnx for --format onnx"),
        ((run, "--format", "torch", "--size", "13"), "expected --size such as 96x96, received '13'"),
        ((run, "--format", "torch", "--size", "1x1"), "does not take an input of shape [1, 1, 1, 1]"),
        ((tmp_path, "--format", "torch"), "expected a run"),
    ):
        answer = isotypic("export", *words)
        assert answer.returncode == 2, words
        assert text in answer.stderr
        assert answer.stderr.strip().count("\n") == 0
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    answer = isotypic("export", run, "--format", "onnx")
    assert answer.returncode == 2
    assert 'needs onnxscript: pip install "isotypic[export]"' in answer.stderr
    assert not list(tmp_path.iterdir())
