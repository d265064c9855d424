"""What is timed: a module, its input, and one call; and what can be asked of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isotypic.bench.setting import Mode
from isotypic.nn.compute import BlockBank, dense
from isotypic.nn.filters import FilterBank


@dataclass(frozen=True)
class Candidate:
    """A module with its input and the call that is timed.

    Attributes:
        module: in training mode for a step, in evaluation mode for a forward pass.
        x: its input.
        call: one forward pass, or one step.
    """

    module: nn.Module
    x: Tensor
    call: Callable[[], object]

    @property
    def parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.module.parameters())


def layer_candidate(module: nn.Module, x: Tensor, mode: str) -> Candidate:
    """Return a layer with its forward pass, or with forward and backward for a gradient of noise."""
    return _forward(module, x) if mode == Mode.FORWARD else _backward(module, x)


def network_candidate(module: nn.Module, x: Tensor, labels: Tensor, mode: str) -> Candidate:
    """Return a network with its forward pass, or with a step of training.

    The step is forward, cross-entropy, backward and plain gradient descent.
    """
    return _forward(module, x) if mode == Mode.FORWARD else _training(module, x, labels)


def _forward(module: nn.Module, x: Tensor) -> Candidate:
    module.eval()

    def call() -> Tensor:
        with torch.inference_mode():
            return module(x)

    return Candidate(module, x, call)


def _backward(module: nn.Module, x: Tensor) -> Candidate:
    module.train()
    signal = x.clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.no_grad():
        gradient = torch.randn_like(module(signal))

    def call() -> None:
        module.zero_grad(set_to_none=True)
        signal.grad = None
        module(signal).backward(gradient)

    return Candidate(module, x, call)


def _training(module: nn.Module, x: Tensor, labels: Tensor) -> Candidate:
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)

    def call() -> None:
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(module(x), labels).backward()
        optimizer.step()

    return Candidate(module, x, call)


def ways(candidate: Candidate) -> Counter[str]:
    """Make one call, and return how many of its group convolutions went which way."""
    seen: Counter[str] = Counter()

    def count(bank: nn.Module, _: object) -> None:
        seen.update(["isotypic" if isinstance(bank, BlockBank) else "dense"])

    banks = [module for module in candidate.module.modules() if isinstance(module, (BlockBank, FilterBank))]
    handles = [bank.register_forward_pre_hook(count) for bank in banks]
    candidate.call()
    for handle in handles:
        handle.remove()
    return seen


def rounding_error(module: nn.Module, x: Tensor, mode: str) -> float:
    """Return how far a layer is from itself in float64 and computed the dense way.

    ``max |a - b| / rms(b)``, the largest over the output and, for a step, over the gradients of input and parameters.

    Args:
        module: a layer; left as it is.
        x: its input.
        mode: what is compared.
    """
    reference = deepcopy(module).double()
    dense(reference)
    pairs = zip(_answers(deepcopy(module), x, mode), _answers(reference, x.double(), mode), strict=True)
    return max(float((a.double() - b).abs().max() / b.square().mean().sqrt()) for a, b in pairs)


def _answers(module: nn.Module, x: Tensor, mode: str) -> list[Tensor]:
    if mode == Mode.FORWARD:
        with torch.no_grad():
            return [module.eval()(x)]
    signal = x.clone(memory_format=torch.preserve_format).requires_grad_()
    output = module.train()(signal)
    # The same gradient for every dtype: drawn in bfloat16, which every other one holds exactly.
    noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(0)).bfloat16()
    output.backward(noise.to(output))
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return [output.detach(), *(g for g in (signal.grad,) if g is not None), *gradients]
