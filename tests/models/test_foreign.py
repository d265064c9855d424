"""Networks of other libraries: their weight files fit or are refused, frozen layers stay, converted ones are exact."""

import pytest
import torch
from laws import BROKEN, TOLERANCE
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from isotypic.errors import RequestError
from isotypic.groups.catalogue import named
from isotypic.models.foreign import Foreign, ForeignConfig, foreign, pretrained
from isotypic.ops.action import act

OTHERS = 400
"""Classes that the factory has by default, and so the weight file."""

SMALL = {
    "factory": "monai.networks.nets:ResNet",
    "arguments": {
        "block": "basic",
        "layers": [1, 1, 1, 1],
        "block_inplanes": [4, 8, 8, 8],
        "spatial_dims": 2,
        "n_input_channels": 1,
    },
    "heads": ["fc"],
}


def config(**changes):
    return ForeignConfig(**{**SMALL, **changes})


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(5)
    network = foreign(config(heads=[], classes_argument="num_classes"), 1, OTHERS).network
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.pth"


def difference(one, other):
    return ((one - other).abs().max() / other.std()).item()


def trained(model, steps=3):
    chosen = torch.optim.SGD(model.parameters(), 0.1)
    model.train()
    for _ in range(steps):
        chosen.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(6, 1, 32, 32)), torch.arange(6) % 2).backward()
        chosen.step()
    return model


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_weights_are_those_of_the_file_and_the_head_is_new(file, suffix):
    model = pretrained(config(weights=file.with_suffix(suffix)), 1, 2)
    kept = torch.load(file, weights_only=True)
    found = model.network.state_dict()
    assert all(torch.equal(found[name], kept[name]) for name in kept if not name.startswith("fc"))
    assert found["fc.weight"].shape == (2, kept["fc.weight"].shape[1])
    other = foreign(config(), 1, 2).network.state_dict()
    assert not torch.equal(other["conv1.weight"], kept["conv1.weight"]), "the control"


@pytest.mark.parametrize("frozen", [True, False])
def test_what_is_frozen_stays_with_its_statistics(file, frozen):
    model = pretrained(config(weights=file, frozen=frozen), 1, 2)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    after = trained(model).network.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert {"fc.weight", "fc.bias"} <= moved
    assert (moved == {"fc.weight", "fc.bias"}) == frozen


@pytest.mark.parametrize("match", ["channels", "fields"])
@pytest.mark.parametrize("size", [(32, 32), (45, 33)])
def test_a_converted_network_is_invariant_after_training(match, size):
    torch.manual_seed(1)
    asked = {"arguments": {**SMALL["arguments"], "block_inplanes": [16, 16, 16, 16]}, "match": match}
    models = [foreign(config(**asked, group=name), 1, 2) for name in ("p4m", "trivial")]
    image, group = torch.randn(2, 1, *size, dtype=torch.float64), named("p4m")
    errors = []
    for model in models:
        model = trained(model).double().eval()  # noqa: PLW2901
        with torch.inference_mode():
            upright = model(image)
            errors.append(max(difference(model(act(image, g, group)), upright) for g in range(group.order)))
    assert errors[0] < TOLERANCE["float64"]
    assert errors[1] > BROKEN, "the control"


def test_a_file_starts_a_converted_network_as_the_average_over_the_group(file):
    plain = pretrained(config(weights=file, heads=[], classes_argument="num_classes"), 1, OTHERS).double().eval()
    model = pretrained(config(weights=file, heads=[], classes_argument="num_classes", group="p4"), 1, OTHERS)
    image, group = torch.randn(2, 1, 33, 33, dtype=torch.float64), named("p4")
    with torch.inference_mode():
        average = torch.stack([plain(act(image, g, group)) for g in range(4)]).mean(0)
        assert difference(model.double().eval()(image), average) < TOLERANCE["float64"]
        assert difference(plain(image), average) > BROKEN, "the control"


def test_of_several_outputs_the_first_counts():
    class Two(nn.Module):
        def forward(self, image):
            logits = image.mean((2, 3))
            return (logits, 2 * logits) if self.training else logits

    image = torch.randn(3, 2, 4, 4)
    assert torch.equal(Foreign(Two()).train()(image), Foreign(Two()).eval()(image))


@pytest.mark.parametrize(
    ("changes", "channels", "message"),
    [
        (
            {"factory": "os:system"},
            1,
            "expected model.factory as module:name of torchvision.models, timm",
        ),
        ({"factory": "monai.networks.nets:Nothing"}, 1, "found no Nothing"),
        ({"arguments": {"depth": 3}}, 1, "monai.networks.nets:ResNet: cannot be made with {'depth': 3}"),
        (
            {"factory": "monai.networks.nets:resnet10", "arguments": {}},
            1,
            "expected a network of 2-D convolutions for model.axes=2, received Conv3d",
        ),
        ({"heads": ["classifier"]}, 1, "expected a linear layer at classifier, the network has fc"),
        ({}, 3, "expected images of 1 channels for this network, received 3: set data.colour"),
        ({"frozen": True}, 1, "expected a weight file for the frozen network monai.*none comes with isotypic"),
        ({"weights": "nowhere.pth"}, 1, "expected a weight file at nowhere.pth, found none"),
    ],
)
def test_what_cannot_be_made_is_refused(changes, channels, message):
    with pytest.raises(RequestError, match=message):
        pretrained(config(**changes), channels, 2)


@pytest.mark.parametrize("name", ["torchvision.models:inception_v3", "timm:create_model"])
def test_a_library_that_cannot_be_imported_is_named(name, monkeypatch):
    library = name.split(":", maxsplit=1)[0].split(".", maxsplit=1)[0]

    def missing(module):
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr("isotypic.models.foreign.import_module", missing)
    with pytest.raises(RequestError, match=f"needs {library}, which cannot be imported"):
        foreign(config(factory=name), 1, 2)


def test_another_networks_file_is_refused(file):
    larger = {**SMALL["arguments"], "layers": [2, 1, 1, 1]}
    with pytest.raises(RequestError, match=r"of another network: the file lacks layer1\.1"):
        pretrained(config(arguments=larger, weights=file), 1, 2)
    wider = {**SMALL["arguments"], "block_inplanes": [8, 8, 8, 8]}
    with pytest.raises(RequestError, match=r"of another network: expected .* of \["):
        pretrained(config(arguments=wider, weights=file), 1, 2)
    file.write_bytes(b"no weights")
    with pytest.raises(RequestError, match="cannot be read as a state dict"):
        pretrained(config(weights=file), 1, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes_argument": "num_classes"}, "either heads or classes_argument"),
        ({"heads": []}, "either heads or classes_argument"),
        ({"frozen": True, "group": "p4"}, "expected group trivial"),
    ],
)
def test_what_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        config(**changes)


def test_a_network_of_volumes_is_built_and_converted():
    arguments = {**SMALL["arguments"], "spatial_dims": 3}
    plain = foreign(config(arguments=arguments, axes=3), 1, 2)
    exact = foreign(config(arguments=arguments, axes=3, group="D4"), 1, 2).double().eval()
    plain, volume, group = plain.double().eval(), torch.randn(1, 1, 9, 17, 17, dtype=torch.float64), named("D4", 3)
    upright = exact(volume)
    moved = [act(volume, g, group) for g in range(group.order)]
    assert max(difference(exact(one), upright) for one in moved) < TOLERANCE["float64"]
    assert max(difference(plain(one), plain(volume)) for one in moved) > BROKEN
