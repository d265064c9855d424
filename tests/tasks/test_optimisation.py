"""Schedules follow their formulas step by step, and a budget that cannot be carried out is refused."""

import math

import pytest
import torch

from isotypic.configuration import validated
from isotypic.errors import RequestError
from isotypic.tasks.optimisation import TrainingConfig, optimiser, schedule

FORMULAS = {
    "constant": lambda n: 1.0,
    "cosine": lambda n: (1 + math.cos(math.pi * n / 12)) / 2,
    "poly": lambda n: (1 - n / 12) ** 0.8,
    "step": lambda n: 0.5 ** (n // 5),
    "cyclic": lambda n: [1, 20.8, 40.6, 60.4, 80.2, 100, 80.2, 60.4, 40.6, 20.8, 1, 20.8][n],
}


def rates(**asked):
    config = TrainingConfig(steps=12, learning_rate=0.001, **asked)
    chosen = optimiser([torch.nn.Parameter(torch.ones(1))], config)
    stepped, found = schedule(chosen, config), []
    for _ in range(12):
        found.append(chosen.param_groups[0]["lr"])
        chosen.step()
        stepped.step()
    return found


@pytest.mark.parametrize("name", FORMULAS)
def test_the_rate_of_every_step(name):
    found = rates(schedule=name, period=5, decay=0.5, highest_rate=0.1)
    assert found == pytest.approx([0.001 * FORMULAS[name](n) for n in range(12)])
    assert name == "constant" or len(set(found)) > 2


@pytest.mark.parametrize(("name", "nesterov"), [("sgd", False), ("nesterov", True)])
def test_momentum_goes_by_its_name(name, nesterov):
    weight = torch.nn.Parameter(torch.ones(1))
    (group,) = optimiser([weight], TrainingConfig(optimizer=name, momentum=0.8)).param_groups
    assert (group["momentum"], group["nesterov"]) == (0.8, nesterov)


def test_rmsprop_divides_by_the_root_mean_square_and_epsilon():
    """Of a first gradient g the mean square is (1 - 0.99) g^2."""
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    config = TrainingConfig(optimizer="rmsprop", learning_rate=0.1, epsilon=1.0, momentum=0.0, weight_decay=0)
    chosen = optimiser([weight], config)
    weight.grad = torch.full((1,), 2.0, dtype=torch.float64)
    chosen.step()
    assert weight.item() == pytest.approx(1 - 0.1 * 2 / (0.1 * 2 + 1))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"schedule": "step"}, "expected period, in steps, for the schedule step, received none"),
        ({"schedule": "cyclic", "highest_rate": 1.0}, "expected period"),
        ({"schedule": "cyclic", "period": 5}, r"highest_rate of at least learning_rate \(0.003\).*received None"),
        ({"schedule": "cyclic", "period": 5, "highest_rate": 1e-4}, "received 0.0001"),
        ({"batch_size": 60, "micro_batch": 16}, r"expected micro_batch to divide batch_size \(60\), received 16"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(asked, message):
    with pytest.raises(RequestError, match=message):
        validated(TrainingConfig, asked, "training")


@pytest.mark.parametrize("asked", [32, "32"])
def test_a_precision_may_be_written_as_a_number(asked):
    assert validated(TrainingConfig, {"precision": asked}, "a recipe").precision == "32"
    with pytest.raises(RequestError, match="precision: input should be '32'"):
        validated(TrainingConfig, {"precision": 33}, "a recipe")
