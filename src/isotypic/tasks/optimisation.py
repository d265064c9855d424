"""How a task is optimised: the budget of a recipe, its optimiser, and the schedule of its learning rate.

Every schedule is a factor on the learning rate, a function of the optimiser steps that were made, n of N:

=============  ===========================================================================================
cosine         ``(1 + cos(pi n / N)) / 2``
constant       1
poly           ``(1 - n / N)^0.8``
step           ``decay^floor(n / period)``
cyclic         a triangle: from 1 up to ``highest_rate / learning_rate`` in ``period`` steps, and down again
plateau        times ``decay`` after ``patience`` evaluations without a lower validation loss
=============  ===========================================================================================

Source of ``cyclic``: L. N. Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017, arXiv 1506.01186.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field, model_validator
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from typing_extensions import Self

from isotypic.configuration import Config

MONITORED = "validation loss"
"""What a task logs for the schedule ``plateau``."""

_POLY_POWER = 0.8


class TrainingConfig(Config):
    """The ``training`` section of a recipe: the same budget of steps for every arm and every size."""

    steps: int = Field(400, ge=1, description="optimiser steps")
    batch_size: int = Field(64, ge=1, description="images a step")
    micro_batch: int | None = Field(
        None,
        ge=1,
        description="images of a step that are computed at a time, a divisor of batch_size; their gradients are added "
        "up. None: all, or fewer where memory is short and no layer looks at the whole batch",
    )
    memory_limit: float | None = Field(
        None, gt=0, description="gigabytes that a step may take; none: nine tenths of what is free"
    )
    optimizer: Literal["adam", "sgd", "nesterov", "rmsprop"] = Field(
        "adam", description="adam (AdamW), sgd with momentum, nesterov: sgd with Nesterov's momentum, or rmsprop"
    )
    learning_rate: float = Field(3e-3, gt=0, description="at the start")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd, nesterov and rmsprop")
    epsilon: float = Field(1e-8, gt=0, description="in the denominator of adam and rmsprop")
    weight_decay: float = Field(1e-4, ge=0, description="decoupled in adam, an L2 penalty in the others")
    schedule: Literal["cosine", "constant", "poly", "step", "cyclic", "plateau"] = Field(
        "cosine", description="of the learning rate: cosine, constant, poly, step, cyclic or plateau"
    )
    period: int | None = Field(
        None, ge=1, description="steps: of `step` between two drops, of `cyclic` from the lowest rate to the highest"
    )
    decay: float = Field(0.1, gt=0, lt=1, description="factor of the rate where `step` and `plateau` lower it")
    highest_rate: float | None = Field(None, gt=0, description="of `cyclic`")
    patience: int = Field(10, ge=0, description="evaluations that plateau waits")
    stop_after: int | None = Field(
        None, ge=1, description="evaluations without a lower validation loss that end the training; none: whole budget"
    )
    keep: Literal["last", "best"] = Field(
        "last", description="weights that are kept: the last, or those of the lowest validation loss"
    )
    evaluations: int = Field(
        20, ge=1, description="points on the learning curve, equally spaced but for the last, which is the end"
    )
    precision: Annotated[Literal["32", "bf16-mixed", "16-mixed", "64"], BeforeValidator(str)] = Field(
        "32", description="of the arithmetic"
    )
    workers: int = Field(0, ge=0, description="processes that load data")

    @property
    def steps_per_evaluation(self) -> int:
        """Steps between two points of the learning curve."""
        return math.ceil(self.steps / self.evaluations)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.schedule in ("step", "cyclic") and self.period is None:
            raise ValueError(f"expected period, in steps, for the schedule {self.schedule}, received none")
        if self.schedule == "cyclic" and (self.highest_rate or 0) < self.learning_rate:
            raise ValueError(
                f"expected highest_rate of at least learning_rate ({self.learning_rate:g}) for the schedule cyclic, "
                f"received {self.highest_rate}"
            )
        if self.micro_batch is not None and self.batch_size % self.micro_batch:
            raise ValueError(
                f"expected micro_batch to divide batch_size ({self.batch_size}), received {self.micro_batch}"
            )
        return self


def optimiser(parameters: Any, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe over some parameters."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "adam":
        return torch.optim.AdamW(parameters, rate, eps=config.epsilon, weight_decay=decay)
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, rate, eps=config.epsilon, weight_decay=decay, momentum=config.momentum)
    nesterov = config.optimizer == "nesterov"
    return torch.optim.SGD(parameters, rate, momentum=config.momentum, nesterov=nesterov, weight_decay=decay)


def configured(parameters: Any, config: TrainingConfig, batches_a_step: int = 1) -> dict[str, Any]:
    """Return the optimiser of a recipe with its schedule, as Lightning takes them.

    Args:
        parameters: what is learned.
        config: the recipe's.
        batches_a_step: micro-batches whose gradients are added up.
    """
    chosen = optimiser(parameters, config)
    if config.schedule == "plateau":
        plateau = ReduceLROnPlateau(chosen, factor=config.decay, patience=config.patience)
        # by steps: at the end of an epoch that was resumed Lightning would leave it out
        frequency = config.steps_per_evaluation * batches_a_step
        when = {"monitor": MONITORED, "interval": "step", "frequency": frequency}
        return {"optimizer": chosen, "lr_scheduler": {"scheduler": plateau, **when}}
    return {"optimizer": chosen, "lr_scheduler": {"scheduler": schedule(chosen, config), "interval": "step"}}


def schedule(optimizer: torch.optim.Optimizer, config: TrainingConfig) -> LambdaLR:
    """Return the learning-rate schedule of a recipe, stepped once an optimiser step."""
    total, period = config.steps, config.period or config.steps
    highest = (config.highest_rate or config.learning_rate) / config.learning_rate
    factors: dict[str, Callable[[int], float]] = {
        "constant": lambda step: 1.0,
        "cosine": lambda step: 0.5 + 0.5 * math.cos(math.pi * step / total),
        "poly": lambda step: (1 - step / total) ** _POLY_POWER,
        "step": lambda step: config.decay ** (step // period),
        "cyclic": lambda step: 1 + (highest - 1) * (1 - abs(step / period % 2 - 1)),
    }
    factor = factors[config.schedule]
    return LambdaLR(optimizer, lambda step: factor(min(step, total)))
