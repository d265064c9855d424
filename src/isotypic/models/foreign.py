"""Classifiers that others have made: any factory of torchvision, timm or MONAI, with a weight file of one's own.

None of the three is needed by the rest of this library; a missing one is an error that names it. Nothing is fetched:
pretrained weights are a file on disk (a state dict, ``.safetensors`` or what ``torch.save`` writes, of which no code is
run), and must fit the network as the factory makes it. Then the last layers are replaced by ones with a logit a class,
and, if the recipe asks for it, all others frozen (their batch norms keep their statistics), or the network is made
equivariant (:func:`isotypic.equivariant`), which a weight file then starts as the average of it over the group.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import Self

from isotypic.configuration import Config
from isotypic.convert.equivariant import equivariant
from isotypic.errors import RequestError
from isotypic.models.weights import load_weights
from isotypic.nn.matching import Match

SOURCES = ("torchvision.models", "timm", "monai.networks.nets")
"""Modules whose factories a recipe may name; a recipe, and so a run, calls nothing else."""

_NORMS = (nn.modules.batchnorm._BatchNorm,)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class ForeignConfig(Config):
    """The ``model`` section of a recipe for a classifier of torchvision, timm or MONAI."""

    family: Literal["foreign"] = "foreign"
    factory: str = Field(description="module:name, of torchvision.models, timm or monai.networks.nets")
    arguments: dict[str, Any] = Field({}, description="what the factory is called with")
    classes_argument: str | None = Field(
        None, description="argument of the factory that takes the number of classes; none: heads are replaced"
    )
    heads: list[str] = Field([], description="names of the linear layers to replace by ones with a logit a class")
    weights: Path | None = Field(None, description="state dict of the network as the factory makes it")
    frozen: bool = Field(False, description="train the replaced heads alone")
    axes: Literal[2, 3] = Field(2, description="axes of space of what the network takes: 2 images, 3 volumes")
    group: str = Field("trivial", description="symmetry group the network is made equivariant to; trivial: as it is")
    match: Match = Field(Match.FIELDS, description="how wide it becomes; with a weight file, fields")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.heads) == bool(self.classes_argument):
            raise ValueError("expected either heads or classes_argument, received both or neither")
        if self.frozen and (self.group != "trivial" or not self.heads):
            raise ValueError("expected group trivial and heads to replace where the others are frozen")
        return self


class Foreign(nn.Module):
    """A classifier ``[B, C, y, x] -> [B, classes]`` around a network of another library.

    Args:
        network: it may return several outputs in training, of which the first counts.
        trained: names of the layers that learn; None for all.
    """

    def __init__(self, network: nn.Module, trained: list[str] | None = None) -> None:
        super().__init__()
        self.network, self.frozen = network, trained is not None
        if trained is not None:
            network.requires_grad_(False)
            for name in trained:
                network.get_submodule(name).requires_grad_(True)

    def train(self, mode: bool = True) -> Self:
        """Change the mode; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        if self.frozen:
            for module in self.network.modules():
                if isinstance(module, _NORMS):
                    module.eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits ``[B, classes]``."""
        found = self.network(image)
        return found if isinstance(found, Tensor) else found[0]


def foreign(config: ForeignConfig, in_channels: int, classes: int) -> Foreign:
    """Return the architecture, freshly initialised.

    Args:
        config: factory and heads.
        in_channels: channels of the image.
        classes: how many logits.

    Raises:
        RequestError: the library is missing, or the factory, an argument or a head is not there.
    """
    return _finished(config, _made(config, classes), in_channels, classes, weights="new")


def pretrained(config: ForeignConfig, in_channels: int, classes: int) -> Foreign:
    """Return the network as its training begins: with the weights of its file, if it has one.

    Raises:
        RequestError: as :func:`foreign`; the file is missing, damaged or of another network; or the network is frozen
            and has no file.
    """
    if config.weights is None:
        if config.frozen:
            raise RequestError(
                f"expected a weight file for the frozen network {config.factory}, which would learn nothing by itself; "
                "none comes with isotypic: --set model.weights=FILE with its state dict (.pth or .safetensors)"
            )
        return foreign(config, in_channels, classes)
    network = _made(config, classes)
    load_weights(network, config.weights)
    return _finished(config, network, in_channels, classes, weights="symmetrise")


def _made(config: ForeignConfig, classes: int) -> nn.Module:
    factory = _factory(config.factory)
    wanted = {} if config.classes_argument is None else {config.classes_argument: classes}
    try:
        network = factory(**config.arguments, **wanted)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RequestError(f"{config.factory}: cannot be made with {config.arguments | wanted}: {error}") from error
    if not isinstance(network, nn.Module):
        raise RequestError(f"expected {config.factory} to make a network, received {type(network).__name__}")
    return network


def _factory(name: str) -> Any:
    module, _, function = name.partition(":")
    if module not in SOURCES or not function.isidentifier():
        raise RequestError(f"expected model.factory as module:name of {', '.join(SOURCES)}, received {name!r}")
    try:
        return getattr(import_module(module), function)
    except (ImportError, RuntimeError) as error:  # torchvision without its compiled operators raises the latter
        raise RequestError(
            f"{name} needs {module.split('.')[0]}, which cannot be imported ({error}): install it for this torch"
        ) from error
    except AttributeError as error:
        raise RequestError(f"expected a factory in {module}, found no {function}") from error


def _finished(
    config: ForeignConfig, network: nn.Module, in_channels: int, classes: int, weights: Literal["new", "symmetrise"]
) -> Foreign:
    """Replace the heads, and freeze or convert."""
    _refuse_channels(network, in_channels, config.axes)
    for name in config.heads:
        parent, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(parent), leaf, nn.Linear(_head(network, name).in_features, classes))
    if config.group != "trivial":
        return Foreign(equivariant(network, config.group, match=config.match, weights=weights))
    return Foreign(network, config.heads if config.frozen else None)


def _refuse_channels(network: nn.Module, in_channels: int, axes: int) -> None:
    first = next((module for module in network.modules() if isinstance(module, _CONVOLUTIONS)), None)
    if not isinstance(first, {2: nn.Conv2d, 3: nn.Conv3d}[axes]):
        raise RequestError(
            f"expected a network of {axes}-D convolutions for model.axes={axes}, received {type(first).__name__}"
        )
    if first.in_channels != in_channels:
        raise RequestError(
            f"expected images of {first.in_channels} channels for this network, received {in_channels}: set "
            "data.colour to rgb or grey, or the factory's argument"
        )


def _head(network: nn.Module, name: str) -> nn.Linear:
    linear = {place: module for place, module in network.named_modules() if isinstance(module, nn.Linear)}
    if name not in linear:
        raise RequestError(f"expected a linear layer at {name}, the network has {', '.join(linear) or 'none'}")
    return linear[name]
