"""Jets: four-momenta are conserved, masses peak where they should, files say what was drawn, wrong files are named."""

import os

import h5py
import numpy as np
import pytest
from laws import BROKEN, TOLERANCE
from made_jets import renamed, rewritten, write_source

from isotypic.data.datasets.jets import JetFiles
from isotypic.data.jets.batch import FEATURES
from isotypic.data.jets.config import JetDataConfig, JetSources
from isotypic.data.jets.kinematics import (
    CONSTITUENT_COLUMNS,
    constituents,
    leading,
    mass_of,
    massless,
    network_inputs,
    pseudorapidity,
    table_of,
    transverse,
)
from isotypic.data.jets.table import JetTable
from isotypic.data.synthetic.decays import HADRON, decay, shower, split
from isotypic.data.synthetic.jets import KINDS, MASSES, draw
from isotypic.data.writers.jet_files import JET_COLUMNS
from isotypic.errors import RequestError


def bodies(count=300, seed=0):
    generator = np.random.default_rng(seed)
    momenta = massless(
        generator.uniform(100, 900, count), generator.normal(0, 1, count), generator.uniform(-3, 3, count)
    )
    momenta[:, 3] = np.sqrt((momenta[:, :3] ** 2).sum(1) + generator.uniform(20, 200, count) ** 2)
    return momenta


def relative(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def test_a_decay_conserves_four_momentum_and_gives_the_masses_asked_for():
    parents = bodies()
    first, second = 0.3 * mass_of(parents), 0.5 * mass_of(parents)
    one, other = decay(parents, first, second, np.linspace(-1, 1, 300), np.linspace(0, 6, 300))
    assert relative(one + other, parents) < TOLERANCE["float64"]
    assert np.allclose(mass_of(one), first, rtol=1e-6)
    assert np.allclose(mass_of(other), second, rtol=1e-6)


def test_a_shower_conserves_four_momentum_and_ends_in_hadrons():
    parents, generator = bodies(), np.random.default_rng(0)
    particles, jet = shower(parents, np.arange(len(parents)), generator)
    sums = np.stack([np.bincount(jet, particles[:, axis]) for axis in range(4)], 1)
    assert relative(sums, parents) < TOLERANCE["float64"]
    assert (mass_of(particles) <= HADRON * 1.01).mean() > 0.99
    lost = np.stack([np.bincount(jet[1:], particles[1:, axis]) for axis in range(4)], 1)
    assert relative(lost, parents) > BROKEN / 100, "the law must see one lost particle"
    assert (np.concatenate(split(parents, generator))[:, 3] > 0).all()


def test_masses_peak_at_w_z_and_top_and_fall_for_quarks():
    kinds = np.repeat(np.arange(len(KINDS)), 600)
    momenta, jets = draw(kinds, np.random.default_rng(0))
    of_particles = mass_of(momenta.sum(1))
    assert np.percentile(np.abs(of_particles - mass_of(jets)), 95) < 0.1, "100 particles hold nearly all jets"
    for kind, (mass, width) in MASSES.items():
        found = of_particles[kinds == KINDS.index(kind)]
        assert abs(np.median(found) - mass) < 0.3
        assert np.subtract(*np.percentile(found, [75, 25])) < 1.5 * width
    counts, _ = np.histogram(of_particles[kinds == KINDS.index("q")], [20, 40, 60, 80, 100])
    assert (np.diff(counts) < 0).all(), "no peak without a heavy body"
    assert transverse(jets).min() > 790


def test_features_are_by_hand_those_of_a_jet():
    """Two particles: angles relative to their sum, logarithms, and the cosine of the angle to it."""
    momenta = np.zeros((1, 3, 4))
    momenta[0, :2] = massless(np.array([60.0, 40.0]), np.array([0.1, -0.1]), np.array([3.1, -3.1]))
    jets = momenta.sum(1)
    columns = dict(zip(CONSTITUENT_COLUMNS, constituents(momenta, jets)[0].T, strict=True))
    table = table_of(momenta, jets, np.array([2]), np.array([5]), "file")
    features = dict(zip(FEATURES, table.features[0].T, strict=True))
    assert abs(columns["j1_phirel"][0] - columns["j1_phirel"][1]) < 0.1, "angles are the short way round"
    assert columns["j1_etarel"][0] == pytest.approx(0.1 - pseudorapidity(jets)[0])
    cosine = momenta[0, 0, :3] @ jets[0, :3] / np.linalg.norm(momenta[0, 0, :3]) / np.linalg.norm(jets[0, :3])
    assert features["cos_theta_rel"][0] == pytest.approx(cosine, abs=1e-6)
    assert features["log_pt"][:2] == pytest.approx(np.log([60, 40]), abs=1e-6)
    assert features["log_e_rel"][1] == pytest.approx(np.log(momenta[0, 1, 3] / jets[0, 3]), abs=1e-6)
    spread = columns["j1_etarot"] ** 2 * columns["j1_pt"], columns["j1_phirot"] ** 2 * columns["j1_pt"]
    assert spread[0].sum() > spread[1].sum()
    assert not table.features[0, 2].any(), "where there is no particle there are zeros"
    assert (table.particles[0], table.mass[0]) == (2, pytest.approx(mass_of(jets)[0]))


def test_the_logarithm_of_nothing_is_zero():
    columns = np.full((1, 8), -1.0)
    assert network_inputs(columns)[0].tolist() == [-1, -1, 0, 0, 0, 0, -1, -1]


def test_particles_come_in_falling_order_and_the_rest_is_cut():
    momenta = np.zeros((1, 5, 4))
    momenta[0, [0, 2, 4]] = massless(np.array([1.0, 3.0, 2.0]), np.zeros(3), np.zeros(3))
    assert transverse(leading(momenta, 2))[0].tolist() == [3, 2]
    assert transverse(leading(momenta, 7))[0].tolist() == [3, 2, 1, 0, 0, 0, 0]


def test_a_table_becomes_a_batch_with_a_mask():
    features = np.zeros((2, 4, 8), np.float32)
    table = JetTable(
        features, np.array([3, 1]), np.array([0, 1]), np.ones(2, np.float32), np.arange(2), np.array(["", ""])
    )
    batch = JetTable.joined([table, table]).as_batch()
    assert batch.mask.tolist() == 2 * [[True, True, True, False], [True, False, False, False]]
    assert [str(getattr(batch, name).dtype) for name in ("features", "label", "mass", "row")] == [
        "torch.float32", "torch.int64", "torch.float32", "torch.int64",
    ]  # fmt: skip


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "jets", files=2, rows=600)


def read(source, **data):
    files = JetFiles(JetSources(paths=(source,), data=JetDataConfig(particles=20, **data)))
    found = list(files.read(0, len(files)))
    dropped = {reason: sum(one.dropped[reason] for one in found) for reason in ("empty", "class", "mass")}
    return JetTable.joined([one.table for one in found]), dropped


def test_what_is_read_is_what_was_written_whatever_the_order_of_the_columns(source):
    kinds = np.random.default_rng([7, 0]).integers(0, len(KINDS), 600)
    table, dropped = read(source)
    assert (len(table), sum(dropped.values())) == (1200, 0)
    assert table.label[:600].tolist() == kinds.tolist()
    assert table.row.tolist() == list(range(1200))
    assert set(table.source) == {"0.h5", "1.h5"}
    path = source / "0.h5"
    order = np.random.default_rng(0).permutation(16)
    with h5py.File(path) as file:
        names, values = file["particleFeatureNames"][:], file["jetConstituentList"][:]
    turned = np.concatenate([names[:16][order], names[16:]])
    rewritten(path, jetConstituentList=values[..., order])
    assert relative(read(source)[0].features, table.features) > BROKEN, "values without their names are other ones"
    rewritten(path, particleFeatureNames=turned)
    assert np.array_equal(read(source)[0].features, table.features)


def test_jets_are_kept_by_class_mass_and_particles(source):
    whole, _ = read(source)
    table, dropped = read(source, classes=("t", "w"), mass=(10, 170))
    wanted = np.isin(whole.label, [KINDS.index("t"), KINDS.index("w")])
    light = (whole.mass > 10) & (whole.mass < 170)
    assert dropped == {"empty": 0, "class": int((~wanted).sum()), "mass": int((wanted & ~light).sum())}
    assert np.array_equal(table.row, np.flatnonzero(wanted & light))
    assert np.array_equal(table.label, (whole.label[table.row] == KINDS.index("w")).astype(int))


def test_empty_jets_are_counted_or_refused(source):
    with h5py.File(source / "1.h5", "r+") as file:
        file["jetConstituentList"][5] = 0
    table, dropped = read(source)
    assert (len(table), dropped["empty"], 605 in table.row) == (1199, 1, False)
    with pytest.raises(RequestError, match=r"1\.h5: row 5 has no particles; data\.empty=drop leaves such jets out"):
        read(source, empty="refuse")


def bad_number(path):
    with h5py.File(path, "r+") as file:
        file["jetConstituentList"][17, 3, CONSTITUENT_COLUMNS.index("j1_e")] = np.nan


def two_classes(path):
    with h5py.File(path, "r+") as file:
        file["jets"][3, JET_COLUMNS.index("j_g") : JET_COLUMNS.index("j_undef")] = 1


BAD = {
    "a column renamed": (
        lambda path: renamed(path, "j1_etarel", "j1_eta_rel"),
        "0.h5: no column 'j1_etarel'; the nearest is 'j1_eta_rel'; rename it in the file's list of names",
    ),
    "a class missing": (lambda path: renamed(path, "j_z", "zz"), "0.h5: no column 'j_z'; the nearest is"),
    "no particles": (
        lambda path: rewritten(path, jetConstituentList=None),
        "0.h5: expected the dataset jetConstituentList of 3 axes, received none",
    ),
    "fewer jets": (
        lambda path: rewritten(path, jets=np.zeros((3, 59))),
        "0.h5: 600 rows of jetConstituentList, and 3 of jets",
    ),
    "NaN": (bad_number, "0.h5: row 17 has nan in j1_e; expected numbers: leave the row out of the file"),
    "two classes": (two_classes, "0.h5: row 3 is of j_g and j_q and j_w and j_z and j_t; expected one class a jet"),
    "cut short": (lambda path: os.truncate(path, path.stat().st_size // 2), "0.h5: cannot be read as HDF5"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_named_with_what_to_do(spoil, message, source):
    read(source)
    spoil(source / "0.h5")
    with pytest.raises(RequestError) as error:
        read(source)
    assert message in str(error.value)


def test_requests_that_make_no_sense_are_refused(source, tmp_path):
    with pytest.raises(RequestError, match="unknown class 'x': Known: g, q, w, z, t"):
        read(source, classes=("w", "x"))
    with pytest.raises(RequestError, match="nowhere: no such file or folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="no files of jets; expected"):
        read(tmp_path / "empty")
    for wrong, message in (({"mass": (5, 5)}, "low < high"), ({"classes": ("w", "w")}, "each once")):
        with pytest.raises(ValueError, match=message):
            JetDataConfig(**wrong)
