"""Training of clusters: schedules by jets, k-means once, stops that change nothing, and processes that agree."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from clusters_together import COUNT, STEPS, learn, recipe, sets
from jets import jets
from processes import learned_together

from isotypic.data.jets.source import MemoryJets, joined, rows_of
from isotypic.errors import RequestError
from isotypic.models.catalogue import build_cloud
from isotypic.models.clouds import Embedded, Output
from isotypic.tasks.checkpoints import Checkpoint
from isotypic.tasks.clustering.embedding import classified, embed
from isotypic.tasks.clustering.kmeans import kmeans
from isotypic.tasks.clustering.loss import deep_kmeans_loss, focal_loss, mass_class
from isotypic.tasks.clustering.schedule import ClusterTraining, Schedule
from isotypic.tasks.clustering.session import train_clusters

SCRIPT = Path(__file__).with_name("clusters_together.py")


@pytest.mark.parametrize("world", [1, 2, 3])
def test_shares_make_the_batches_wherever_an_epoch_is_taken_up(world):
    source = MemoryJets(jets(23), seed=5)
    whole = [batch.row for batch in source.batches(2, 6)]
    assert sorted(torch.cat(whole).tolist()) == list(range(23)), "no jet twice, none lost"
    shares = [list(source.batches(2, 6, rank, world)) for rank in range(world)]
    assert [torch.cat([s.row for s in parts]).tolist() for parts in zip(*shares, strict=True)] == [
        w.tolist() for w in whole
    ]
    late = [batch.row.tolist() for batch in source.batches(2, 6, start=2)]
    assert late == [w.tolist() for w in whole[2:]]
    assert not torch.equal(torch.cat(whole), joined(source.batches(3, 6)).row), "another epoch, another order"


def test_unsound_jets_are_refused():
    good = jets(4)
    for name, value, said in (
        ("mass", float("nan"), "finite numbers and a mass of at least 0, received 1 others, the first is row 2"),
        ("row", 1, "a row of its own for every jet"),
    ):
        bad = rows_of(good, np.arange(4))
        getattr(bad, name)[2] = value
        with pytest.raises(RequestError, match=said):
            MemoryJets(bad)
    bad = rows_of(good, np.arange(4))
    bad.mask[3] = False
    with pytest.raises(RequestError, match="received 1 without, the first is row 3"):
        MemoryJets(bad)


def test_schedules_follow_the_jets_and_not_the_steps_of_a_process():
    config = ClusterTraining(pretraining=2, joint=20, halve_every=3, alpha=1, alpha_step=2)
    schedule = Schedule(config, rows=100)
    seen = np.arange(0, 2200, 50)
    assert [schedule.rate(n) for n in seen] == pytest.approx([max(1e-3 / 2 ** (n // 300), 1e-5) for n in seen])
    assert [schedule.alpha(n) for n in seen] == [1 + 2 * max(0, n // 100 - 2) for n in seen]
    assert not schedule.joint(199)
    assert schedule.joint(200)
    linear = Schedule(config.model_copy(update={"scaling": "linear"}), rows=100, processes=4)
    assert linear.batch == 4 * config.batch_size
    assert [linear.rate(n) for n in seen] == pytest.approx([4 * schedule.rate(n) for n in seen])
    again = Schedule(config.model_copy(update={"restart": True}), rows=100)
    assert (again.rate(200), again.rate(500)) == (1e-3, 5e-4)
    assert schedule.rate(500) == 5e-4


def test_a_relative_temperature_is_measured_by_the_centroids_that_kmeans_finds():
    config = ClusterTraining(pretraining=1, alpha=3, alpha_step=2, alpha_unit="relative")
    schedule = Schedule(config, rows=10)
    assert schedule.alpha(0, unit=0.25) == 12
    assert schedule.alpha(30, unit=0.25) == 28
    plain = Schedule(config.model_copy(update={"alpha_unit": "absolute"}), rows=10)
    assert plain.alpha(30, unit=0.25) == 7
    made = recipe({"norm": False}, pretraining=0, joint=1, alpha_unit="relative")
    found = train_clusters(made, sets(), seed=1)
    torch.manual_seed(1)
    network = build_cloud(made.model, 8, 20).double()
    centroids = kmeans(embed(network, sets().train, made.training).points, 3, seed=1)
    nearest = min(np.linalg.norm(centroids[i] - centroids[j]) for i in range(3) for j in range(i))
    assert found.curves.alpha[0] == pytest.approx(nearest**-2)


@pytest.mark.parametrize(("refind", "found"), [(None, [20]), (1, [20, 30, 40, 50]), (2, [20, 40])])
def test_kmeans_runs_once_or_as_often_as_is_asked_for(refind, found):
    schedule = Schedule(ClusterTraining(pretraining=2, joint=4, refind=refind), rows=10)
    clustered, ran = False, []
    for seen in range(60):
        if schedule.finds(seen, clustered):
            clustered = True
            ran.append(seen)
    assert ran == found


@pytest.fixture(scope="module")
def alone():
    """What one process learns."""
    return learn("plain")


def test_it_learns_what_it_is_told_and_records_it(alone):
    curves = alone["curves"]
    assert {len(values) for values in curves.values()} == {9}
    assert curves["step"] == [6 * (epoch + 1) for epoch in range(9)]
    assert all(math.isnan(value) for value in curves["accuracy"][:3])
    assert all(1 / 3 <= value <= 1 for value in curves["accuracy"][3:])
    assert curves["alpha"] == [1, 1, 1, 1, 3, 5, 7, 9, 11]
    assert curves["train_classification"][-1] < curves["train_classification"][0]
    assert all(clustering > 0 for _, clustering, _ in alone["steps"][18:])
    assert all(clustering == 0 for _, clustering, _ in alone["steps"][:18]), "classification alone"


def test_the_loss_of_a_step_is_its_formula():
    made, data = recipe({"norm": False}, pretraining=0, joint=1, batch_size=200), sets()
    STEPS.clear()
    trained = train_clusters(made, data, seed=1)
    torch.manual_seed(1)

    network = build_cloud(made.model, 8, 20).double()
    batch = data.train.jets
    latent, logits = network(batch.features.double(), batch.mask)
    centroids = torch.from_numpy(kmeans(latent.detach().numpy(), 3, seed=1))
    focal = focal_loss(logits, mass_class(batch.mass)).mean()
    clustering = deep_kmeans_loss(latent, centroids, 1.0).mean()
    assert STEPS[0][:2] == pytest.approx((focal.item(), clustering.item()))
    network.centroids.data.copy_(centroids)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    latent, logits = network(batch.features.double(), batch.mask)
    loss = (
        focal_loss(logits, mass_class(batch.mass)).mean() + 10 * deep_kmeans_loss(latent, network.centroids, 1.0).mean()
    )
    loss.backward()
    optimiser.step()
    # Adam divides by the gradient's own size: where that is nothing but rounding, so is the step
    assert difference(network.state_dict(), trained.network.state_dict()) < 1e-6


def test_the_loss_of_particles_is_the_mean_over_those_of_the_jet():
    batch = jets(5, dtype=torch.float64)
    logits = torch.randn(5, 16, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss, chances = classified(Embedded(torch.zeros(5, 3), logits), batch, ClusterTraining(), Output.PARTICLE)
    for jet in range(5):
        own = logits[jet, batch.mask[jet]]
        classes = mass_class(batch.mass[[jet]]).expand(len(own))
        torch.testing.assert_close(loss[jet], focal_loss(own, classes).mean())
        assert chances[jet].argmax() == own.log_softmax(1).sum(0).argmax()


def test_a_supervised_network_learns_the_particles():
    made = recipe({"family": "deepsets"}, pretext="label", pretraining=12, joint=0, learning_rate=1e-2, halve_every=5)
    trained = train_clusters(made, sets(300), seed=1)
    assert trained.network.head[-1].out_features == 3
    assert trained.curves.pretext[-1] > 0.6


def test_batches_that_do_not_go_on_where_a_training_was_stopped_are_refused(tmp_path):
    path = stopped_at(COUNT + 60, tmp_path / "kept.ckpt")
    with pytest.raises(RequestError, match=r"behind the 40 jets of the epoch that were seen, received batches of 30"):
        learn("plain", {"batch_size": 30}, checkpoint=path)


class Stop(Exception):
    """As if the machine went down."""


def stopped_at(step, place, **options):
    """Train until a step, with a checkpoint behind every one."""
    path = Checkpoint(place, "this", interval=0)

    def progress(fraction, pace=None):
        if round(fraction * COUNT * 9) >= step:
            raise Stop

    with pytest.raises(Stop):
        learn("plain", checkpoint=path, progress=progress, **options)
    return path


@pytest.mark.parametrize("jets_seen", [2 * COUNT + 60, 4 * COUNT + 40])
def test_a_stop_in_the_middle_of_an_epoch_changes_nothing(alone, jets_seen, tmp_path):
    """Before there are clusters and after."""
    path = stopped_at(jets_seen, tmp_path / "kept.ckpt")
    went_on = learn("plain", checkpoint=path)
    assert 0 < len(went_on["steps"]) < 54
    assert went_on["steps"] == alone["steps"][-len(went_on["steps"]) :]
    assert difference(went_on["weights"], alone["weights"]) == 0
    np.testing.assert_equal(went_on["curves"], alone["curves"])


def difference(one, two):
    return max((one[name] - two[name]).abs().max().item() for name in one if one[name].is_floating_point())


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What two processes learn."""
    folder = tmp_path_factory.mktemp("together")
    found, stopped = folder / "learned.pt", stopped_at(4 * COUNT + 40, folder / "kept.ckpt")
    return learned_together(SCRIPT, found, stopped.path, seconds=900)


def test_two_processes_learn_what_one_learns(alone, together):
    """54 steps, k-means between them, shares of 10 and 10 and of 0 and 1."""
    found = together["plain"]
    assert len(found["steps"]) == 54
    np.testing.assert_allclose(found["steps"], alone["steps"], rtol=0, atol=1e-6)
    for name, values in alone["curves"].items():
        np.testing.assert_allclose(found["curves"][name], values, atol=1e-6, err_msg=name)
    assert difference(found["weights"], alone["weights"]) < 1e-5


def test_two_processes_go_on_where_one_was_stopped_in_the_middle_of_an_epoch(alone, together):
    found = together["went on"]
    assert 0 < len(found["steps"]) < 54
    np.testing.assert_allclose(found["steps"], alone["steps"][-len(found["steps"]) :], rtol=0, atol=1e-6)
    assert difference(found["weights"], alone["weights"]) < 1e-5
    for name, values in alone["curves"].items():
        np.testing.assert_allclose(found["curves"][name], values, atol=1e-6, err_msg=name)


def test_of_linear_scaling_the_batch_and_the_rate_are_those_of_both(together, alone):
    found = together["linear"]["steps"]
    assert len(found) == 12, "10 jets a process"
    assert [rate for *_, rate in found] == pytest.approx([2 * rate for *_, rate in alone["steps"][:12]])


def test_batch_norm_sees_a_share(together):
    """The control: with it the steps are not the same."""
    assert np.abs(np.array(together["norm"]["steps"]) - learn("norm")["steps"]).max() > 1e-4


def test_an_embedding_leaves_the_mode_and_gives_rows_in_order():
    made = recipe({"norm": True})
    trained = train_clusters(
        made.model_copy(update={"training": made.training.model_copy(update={"pretraining": 1, "joint": 0})}),
        sets(),
        seed=1,
    )
    network = trained.network.train()
    space = embed(network, MemoryJets(jets(30, 12), seed=3), made.training)
    assert network.training
    assert space.row.tolist() == list(range(30))
    assert 1 / 3 <= space.by_mass((3, 3)).accuracy <= 1
    assert 1 / 3 <= space.bare((3, 3)).accuracy <= 1
