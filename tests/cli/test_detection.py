"""A detector from the command line: trained on a small LUNA16, scored, and used on scans with candidates."""

import shutil

import numpy as np
import pandas as pd
import pytest
from scans import LUNA, write_luna

from isotypic.data.readers.scan import read_scan
from isotypic.data.scans.candidates import read_points
from isotypic.data.scans.patches import Lattice, Patches
from isotypic.groups import named
from isotypic.inference.run import load_detector
from isotypic.studies.systems.catalogue import system_of
from isotypic.studies.systems.system import Job
from isotypic.tasks.recipe import read_recipe, recipe_of, with_request

SETTINGS = [
    *("data.size=[4, 6, 6]", "data.spacing=[1.5, 0.7, 0.7]", "data.test_subsets=[1]", "data.validation_subsets=[2]"),
    *("model.group=D4h", "model.channels=[4, 4, 4]", "model.pools=[[1, 2, 2]]", "training.stop_after=null"),
    *("training.steps=4", "training.batch_size=4", "training.evaluations=2"),
]


@pytest.fixture(scope="module")
def luna(tmp_path_factory):
    folder = tmp_path_factory.mktemp("luna")
    write_luna(folder)
    return folder


@pytest.fixture(scope="module")
def run(luna, tmp_path_factory):
    recipe = recipe_of(with_request(read_recipe("nodules"), luna, SETTINGS))
    system, folder = system_of(recipe), tmp_path_factory.mktemp("run")
    material = system.material(recipe, folder / "cache")
    system.run(Job(recipe, material, system.subset(material, 6, seed=0), named("D4h", 3), seed=0), folder)
    return folder


def test_it_is_trained_and_tested(isotypic, luna, tmp_path):
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    done = isotypic("train", "nodules", "--data", luna, "--out", tmp_path / "run", *settings)
    assert done.returncode == 0, done.stderr
    assert "2 nodules, group D4h" in done.stdout
    assert "CPM" in done.stdout


def test_it_is_scored_by_the_rules_of_luna16(isotypic, run):
    done = isotypic("evaluate", run)
    assert done.returncode == 0, done.stderr
    for said in ("test: 1 scans, 2 nodules, 6 candidates", "CPM, nearest point", "sensitivity at 1/8", "group D4h"):
        assert said in done.stdout
    assert (run / "froc.svg").read_text(encoding="utf-8").startswith("<svg")


def test_candidates_of_a_folder_of_scans_get_their_probabilities(isotypic, run, luna, tmp_path):
    out = tmp_path / "out.csv"
    done = isotypic("predict", luna, "--run", run, "--candidates", luna / "candidates_V2.csv", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "18 candidates in 3 scans" in done.stdout
    found = pd.read_csv(out)
    assert list(found) == ["seriesuid", "coordX", "coordY", "coordZ", "probability"]
    assert found.probability.between(0, 1).all()
    asked = read_points(luna / "candidates_V2.csv", "class")
    wanted = sorted(zip(asked.scan.tolist(), asked.position.tolist(), strict=True))
    given = sorted(zip(found.seriesuid, found[["coordX", "coordY", "coordZ"]].to_numpy().tolist(), strict=True))
    assert wanted == given


def test_one_scan_gives_what_the_network_says_of_its_patches(isotypic, run, luna, tmp_path):
    name, (subset, _) = next(iter(LUNA.items()))
    path, out = luna / f"subset{subset}" / f"{name}.mhd", tmp_path / "out.csv"
    done = isotypic("predict", path, "--run", run, "--candidates", luna / "candidates_V2.csv", "--out", out)
    assert done.returncode == 0, done.stderr
    found, trained = read_points(out, "probability"), load_detector(run)
    patches = Patches(read_scan(path), Lattice((4, 6, 6), (1.5, 0.7, 0.7))).at(found.position)
    assert np.allclose(trained.probabilities(patches)[:, 1], found.value, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected --candidates FILE.csv with seriesuid,coordX,coordY,coordZ"),
        (["--candidates", "strange.csv"], "none of its 4 scans has a candidate in the table, whose first scan is"),
        (["--candidates", "none.csv"], "none.csv"),
    ],
)
def test_what_cannot_be_predicted_is_refused_in_one_line(isotypic, run, luna, tmp_path, words, message):
    (tmp_path / "strange.csv").write_text("seriesuid,coordX,coordY,coordZ\n9.9,1,2,3\n")
    words = [tmp_path / word if str(word).endswith(".csv") else word for word in words]
    done = isotypic("predict", luna, "--run", run, *words, "--out", tmp_path / "out.csv")
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out.csv").exists()


def test_masks_are_no_scans_and_candidates_without_a_scan_are_told(isotypic, run, luna, tmp_path):
    copy = tmp_path / "luna"
    write_luna(copy)
    shutil.copytree(copy / "subset0", copy / "seg-lungs-LUNA16")
    shutil.rmtree(copy / "subset1")
    done = isotypic(
        *("predict", copy, "--run", run, "--candidates", copy / "candidates_V2.csv", "--out", tmp_path / "out.csv")
    )
    assert done.returncode == 1
    assert "no file of scan '1.3.6.2' (6 candidates in 1 such scans are left out)" in done.stderr
    assert pd.read_csv(tmp_path / "out.csv").seriesuid.value_counts().to_dict() == {"1.3.6.1": 6, "1.3.6.3": 6}


def test_a_damaged_scan_does_not_stop_the_others(isotypic, run, luna, tmp_path):
    copy = tmp_path / "luna"
    write_luna(copy)
    next(copy.glob("subset1/*.raw")).unlink()
    done = isotypic(
        *("predict", copy, "--run", run, "--candidates", copy / "candidates_V2.csv", "--out", tmp_path / "out.csv")
    )
    assert done.returncode == 1
    assert "is missing" in done.stderr
    assert len(pd.read_csv(tmp_path / "out.csv")) == 12
