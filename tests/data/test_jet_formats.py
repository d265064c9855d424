"""Jets of other formats: events of the LHC Olympics, ROOT files, and what generators make; wrong files are named."""

import ast
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from made_jets import QUIET, rewritten

from isotypic.data.datasets.jets import JetFiles
from isotypic.data.jets.config import JetDataConfig, JetSources, MadeEventsConfig, MadeJetsConfig, RootConfig
from isotypic.data.jets.kinematics import CONSTITUENT_COLUMNS, mass_of, massless, transverse
from isotypic.data.jets.table import JetTable
from isotypic.data.synthetic import made_files, pythia
from isotypic.data.synthetic.jets import KINDS, draw
from isotypic.data.writers.jet_files import LHCO_PARTICLES, write_lhco
from isotypic.errors import RequestError


def read(path, **data):
    files = JetFiles(JetSources(paths=(path,), data=JetDataConfig(**data)))
    found = list(files.read(0, len(files)))
    return JetTable.joined([one.table for one in found]), found, files


def events_of(count=30, signal=0.5, seed=0):
    return MadeEventsConfig(count=count, signal=signal, seed=seed, file_rows=count)


@pytest.fixture
def events(tmp_path):
    pytest.importorskip("fastjet", reason="needs the extra pythia")
    made_files.write_events(events_of(), tmp_path / "events", QUIET)
    return next((tmp_path / "events").glob("*.h5"))


def test_events_become_two_jets_that_stay_together(events):
    table, _, files = read(events)
    assert (files.classes, files.together, len(table)) == (("background", "signal"), 2, 60)
    with h5py.File(events) as file:
        signal = file["df/block0_values"][:, -1]
    assert signal.sum() == 15
    assert table.label.reshape(-1, 2).tolist() == [[label, label] for label in signal]
    masses = np.sort(table.mass.reshape(-1, 2)[signal == 1], 1)
    assert np.abs(np.median(masses, 0) - (110, 500)).max() < 30, "of Y and X, with what is around them"
    assert np.median(table.mass.reshape(-1, 2)[signal == 0]) < 110
    assert table.particles.max() <= 100
    light, _, _ = read(events, mass=(0, 400), classes=("signal",))
    assert len(light) % 2 == 0, "an event goes as a whole"
    assert (light.row.reshape(-1, 2) // 2 == light.row.reshape(-1, 2)[:, :1] // 2).all()


def test_events_are_in_the_layout_of_pandas(events):
    """As its fixed layout names things; reading it needs PyTables, which is not asked for here."""
    with h5py.File(events) as file:
        group = file["df"]
        assert {name: group.attrs[name] for name in ("pandas_type", "nblocks")} == {
            "pandas_type": "frame",
            "nblocks": 1,
        }
        frame = pd.DataFrame(group["block0_values"][:], index=group["axis1"][:], columns=group["block0_items"][:])
    assert frame.shape == (30, 2101)
    pt = frame.iloc[:, :-1:3].to_numpy()
    assert (np.diff(pt, axis=1) <= 0).all()


def test_events_packed_by_blosc_are_read(events):
    hdf5plugin = pytest.importorskip("hdf5plugin", reason="needs the extra jets")
    plain, _, _ = read(events)
    with h5py.File(events, "r+") as file:
        values = file["df/block0_values"][:]
        del file["df/block0_values"]
        file["df"].create_dataset("block0_values", data=values, **hdf5plugin.Blosc(cname="blosclz"))
    packed, _, _ = read(events)
    assert np.array_equal(plain.features, packed.features)


def other_columns(path):
    rewritten(path, **{"df/block0_values": np.zeros((3, 14))})


def value(row, column, number):
    def spoil(path):
        with h5py.File(path, "r+") as file:
            file["df/block0_values"][row, column] = number

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_columns, r"expected df/block0_values \[N, 2101\], received \[3, 14\]"),
        (value(7, 4, np.nan), "event 7 has nan in eta; expected numbers"),
        (value(9, 2100, 3), "event 9 has the label 3; expected 0 or 1"),
    ],
)
def test_wrong_events_are_named(spoil, message, events):
    spoil(events)
    with pytest.raises(RequestError, match=message):
        read(events)


def test_an_event_of_one_jet_is_left_out_as_a_whole(tmp_path):
    pytest.importorskip("fastjet", reason="needs the extra pythia")
    particles = np.zeros((2, 4, 3))
    particles[:, 0] = 500, 0.2, 1.0
    particles[1, 1] = 400, -0.3, -2.1
    table, found, _ = read(write_lhco(tmp_path / "events.h5", particles, np.zeros(2)))
    assert table.row.tolist() == [2, 3]
    assert found[0].dropped["empty"] == 2


def test_without_fastjet_events_are_refused_with_the_extra(events, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastjet", None)
    with pytest.raises(RequestError, match=r"jets are found in events by FastJet: pip install isotypic\[pythia\]"):
        read(events)


@pytest.fixture
def root_file(tmp_path):
    """40 jets as JetClass has them, and their momenta."""
    uproot = pytest.importorskip("uproot", reason="needs the extra jets")
    awkward = pytest.importorskip("awkward", reason="needs the extra jets")
    kinds = np.arange(40) % len(KINDS)
    momenta, jets = draw(kinds, np.random.default_rng(0))
    there = momenta[..., 3] > 0
    path = tmp_path / "jets.root"
    lists = {
        name: awkward.Array([momenta[row, there[row], axis] for row in range(40)])
        for axis, name in enumerate(("part_px", "part_py", "part_pz", "part_energy"))
    }
    with uproot.recreate(path) as file:
        file["tree"] = {**lists, **{f"label_{kind}": (kinds == place) * 1 for place, kind in enumerate(KINDS)}}
    return path, kinds, momenta, jets


def test_root_files_hold_the_same_jets(root_file):
    path, kinds, momenta, jets = root_file
    table, _, files = read(path, particles=30)
    assert sorted(files.classes) == sorted(KINDS)
    assert [files.classes[label] for label in table.label] == [KINDS[kind] for kind in kinds]
    assert np.allclose(table.mass, mass_of(jets), rtol=1e-4)
    assert np.allclose(np.exp(table.features[:, 0, 2]), transverse(momenta)[:, 0], rtol=1e-5)
    assert table.particles.max() == 30


def test_branches_of_other_names_are_named_or_refused(root_file):
    path, *_ = root_file
    for config, message in (
        ({"px": "part_p"}, r"no branch 'part_p'; the nearest is 'part_p[xyz]'; name it with data\.root\.px"),
        ({"label": "is_"}, "no branch begins with 'is_'"),
        ({"tree": "tres"}, "unknown tree 'tres': did you mean 'tree'"),
    ):
        with pytest.raises(RequestError, match=message):
            read(path, root=RootConfig(**config))
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(RequestError, match=r"jets\.root: cannot be read as a ROOT file"):
        read(path)


def contents(folder):
    found = {}
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            found[path.name] = {name: file[name][:].tobytes() for name in file}
    return found


def test_jets_are_made_by_their_seed_alone_and_added_to(tmp_path):
    config = MadeJetsConfig(count=200, file_rows=100, kinds=("w", "q"))
    told = []
    assert made_files.write_jets(config, tmp_path / "one", lambda *done: told.append(done)) == 0
    assert told == [(0, 200), (100, 200), (200, 200)]
    made_files.write_jets(config, tmp_path / "same", QUIET, workers=2)
    made_files.write_jets(config.model_copy(update={"seed": 1}), tmp_path / "other", QUIET)
    one, same, other = (contents(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same != other
    (tmp_path / "one" / "jets-00000000-00000100.h5").unlink()
    more = config.model_copy(update={"count": 300})
    assert made_files.write_jets(more, tmp_path / "one", QUIET) == 100
    assert {name: found for name, found in contents(tmp_path / "one").items() if name in one} == one
    with pytest.raises(RequestError, match=r"holds 2 files more than are asked for, jets-00000100-00000200\.h5 is"):
        made_files.write_jets(config.model_copy(update={"count": 100}), tmp_path / "one", QUIET)
    with pytest.raises(RequestError, match="the folder holds files of another request"):
        made_files.write_jets(config.model_copy(update={"seed": 2}), tmp_path / "one", QUIET)
    table, _, _ = read(tmp_path / "same")
    assert np.bincount(table.label).tolist() == [0, 100, 100]


def test_counts_are_whole_files():
    assert MadeJetsConfig(count=100, file_rows=2000).count == 100
    with pytest.raises(ValueError, match="count: expected a multiple of file_rows = 2000, received 3000"):
        MadeJetsConfig(count=3000)


def test_without_pythia_the_extra_is_named(monkeypatch):
    pytest.importorskip("fastjet", reason="needs the extra pythia")
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    with pytest.raises(RequestError, match=r"jets are made by Pythia 8: pip install isotypic\[pythia\]"):
        pythia.draw("w", 1, 0, MadeJetsConfig(generator="pythia"))


def test_what_is_under_the_gpl_is_imported_by_two_modules_and_only_when_it_is_used():
    package = Path(pythia.__file__).parents[2]
    found = set()
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "import pythia8mc" not in text and "import fastjet" not in text:
            continue
        tree = ast.parse(text)
        at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in ast.walk(tree):
            names = {alias.name.split(".")[0] for alias in node.names} if isinstance(node, ast.Import) else set()
            for name in names & {"pythia8mc", "fastjet"}:
                found.add((path.relative_to(package).as_posix(), name))
                assert node not in at_once
    assert found == {("data/synthetic/pythia.py", "pythia8mc"), ("data/jets/antikt.py", "fastjet")}


@pytest.mark.slow
def test_pythia_makes_jets_whose_masses_peak_at_w_z_and_top(tmp_path):
    """Half a minute: 150 jets of each."""
    pytest.importorskip("pythia8mc", reason="needs the extra pythia")
    pytest.importorskip("fastjet", reason="needs the extra pythia")
    config = MadeJetsConfig(generator="pythia", count=450, file_rows=450)
    made_files.write_jets(config, tmp_path / "jets", QUIET)
    table, _, _ = read(tmp_path / "jets")
    for kind, mass in (("w", 80.4), ("z", 91.2), ("t", 173.0)):
        found = table.mass[table.label == KINDS.index(kind)]
        counts, edges = np.histogram(found, np.arange(mass - 60.5, mass + 61, 10))
        peak = edges[counts.argmax()] + 5
        assert abs(peak - mass) <= 10, (kind, peak)
    with h5py.File(next((tmp_path / "jets").glob("*.h5"))) as file:
        values = file["jetConstituentList"][:]
    energy, momentum = values[..., 3], np.linalg.norm(values[..., :3], axis=-1)
    assert (energy >= momentum * (1 - 1e-5)).all()
    distance = values[..., CONSTITUENT_COLUMNS.index("j1_deltaR")][energy > 0]
    assert (distance < 0.8).mean() > 0.98, "FastJet goes by rapidity, which differs for soft particles with a mass"
    made_files.write_jets(config, tmp_path / "same", QUIET)
    assert contents(tmp_path / "same") == contents(tmp_path / "jets")


@pytest.mark.slow
def test_pythia_makes_events_with_the_masses_asked_for(tmp_path):
    """Ten seconds: ten events of either kind."""
    pytest.importorskip("pythia8mc", reason="needs the extra pythia")
    pytest.importorskip("fastjet", reason="needs the extra pythia")
    config = MadeEventsConfig(generator="pythia", count=20, signal=0.5, file_rows=20)
    made_files.write_events(config, tmp_path / "events", QUIET)
    table, _, _ = read(tmp_path / "events")
    masses = np.sort(table.mass.reshape(-1, 2)[table.label[::2] == 1], 1)
    assert len(masses) == 10
    assert np.abs(np.median(masses, 0) - (100, 500)).max() < 40


def test_of_events_as_many_are_signal_as_is_asked_for(tmp_path):
    made_files.write_events(MadeEventsConfig(count=300, signal=0.01, file_rows=100), tmp_path / "events", QUIET)
    signal = []
    for path in sorted((tmp_path / "events").glob("*.h5")):
        with h5py.File(path) as file:
            values = file["df/block0_values"][:]
        signal.append(values[:, -1].sum())
        particles = values[:, :-1].reshape(len(values), LHCO_PARTICLES, 3)
        assert (mass_of(massless(*np.moveaxis(particles, 2, 0)).sum(1)) > 2000).all()
    assert signal == [1, 1, 1]
