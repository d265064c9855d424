"""Files that run without this library: the same numbers, the same symmetry, and no other size."""

import json
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import onnxruntime
import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from networks import ResNetLike, UNetLike
from test_equivariant import trained
from torch import nn

import isotypic
from isotypic.convert import export as exporting
from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.metrics.equivariance import equivariance_error
from isotypic.models import ConvNet, ConvNetConfig
from isotypic.nn import GroupConv3d, GroupInstanceNorm, InvariantHead

ROUNDING = 1e-5  # of the largest value, in float32


def converted(network):
    torch.manual_seed(0)
    return trained(isotypic.equivariant(network, "p4m", match="channels"))


def volume():
    torch.manual_seed(0)
    layers = (GroupConv3d(1, 2, 3, "O", lift=True, stride=2), GroupInstanceNorm(2, "O", dim=3))
    return nn.Sequential(*layers, InvariantHead(2, 3, "O", dim=3)).double().eval()


def small():
    torch.manual_seed(0)
    return ConvNet(ConvNetConfig(group="p4", stages=[[4], [4]]), 3, 5).double().eval()


CASES = {
    "resnet, even": (lambda: converted(ResNetLike()), (3, 32, 32), named("p4m")),
    "resnet, odd": (lambda: converted(ResNetLike()), (3, 33, 33), named("p4m")),
    "unet": (lambda: converted(UNetLike()), (3, 33, 33), named("p4m")),
    "volume": (volume, (1, 9, 9, 9), named("O", dim=3)),
}


def outputs(output):
    return list(output) if isinstance(output, (tuple, list)) else [output]


def difference(found, wanted):
    pairs = zip(outputs(found), outputs(wanted), strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def in_onnxruntime(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(x):
        return [torch.from_numpy(part) for part in session.run(None, {"image": x.numpy()})]

    return session, run


@pytest.fixture(scope="module", params=CASES)
def onnx(request, tmp_path_factory):
    """One network of each kind in float32, written as ONNX."""
    make, shape, group = CASES[request.param]
    net = make().float()
    made = isotypic.export(net, (1, *shape), tmp_path_factory.mktemp("onnx") / "net.onnx", metadata={"classes": ["a"]})
    session, run = in_onnxruntime(made.path)
    return SimpleNamespace(net=net, shape=shape, group=group, made=made, session=session, run=run)


def test_onnxruntime_gives_the_same_on_any_batch(onnx):
    for batch in (1, 2, 5):
        x = signal(batch, *onnx.shape, dtype=torch.float32)
        with torch.no_grad():
            assert difference(onnx.run(x), onnx.net(x)) < ROUNDING
    assert 0 < onnx.made.difference < ROUNDING


def test_onnxruntime_gives_an_equivariant_network(onnx):
    x = signal(2, *onnx.shape, dtype=torch.float32)
    for part in range(len(onnx.made.outputs)):
        error = equivariance_error(lambda x, part=part: onnx.run(x)[part], x, onnx.group)
        assert error.max() < TOLERANCE["float32"]


def test_the_onnx_file_says_what_it_serves_and_refuses_other_sizes(onnx):
    entries = {name: json.loads(text) for name, text in onnx.session.get_modelmeta().custom_metadata_map.items()}
    assert entries["size"] == list(onnx.shape[1:])
    assert entries["step"] == [0] * len(onnx.shape[1:])
    assert entries["classes"] == ["a"]
    assert [part.name for part in onnx.session.get_outputs()] == list(onnx.made.outputs)
    with pytest.raises(Exception, match=r"index: 2 Got: \d+ Expected: \d+"):
        onnx.run(torch.zeros(1, onnx.shape[0], onnx.shape[1] + 1, *onnx.shape[2:]))


def test_a_plain_network_is_no_more_symmetric_in_onnxruntime_than_before(tmp_path):
    torch.manual_seed(0)
    net = trained(ResNetLike()).float()
    _, run = in_onnxruntime(isotypic.export(net, (1, 3, 32, 32), tmp_path / "net.onnx").path)
    x = signal(2, 3, 32, 32, dtype=torch.float32)
    assert equivariance_error(lambda x: run(x)[0], x, named("p4m")).max() > BROKEN


@pytest.mark.parametrize("case", CASES)
def test_a_program_gives_the_same_in_float64_and_refuses_other_sizes(case, tmp_path):
    make, shape, _ = CASES[case]
    net = make()
    made = isotypic.export(net, (1, *shape), tmp_path / "net.pt2")
    program = torch.export.load(made.path).module()
    for batch in (1, 2, 5):
        x = signal(batch, *shape)
        with torch.no_grad():
            assert difference(program(x), net(x)) < TOLERANCE["float64"]
    with pytest.raises((AssertionError, RuntimeError), match=str(shape[1])):
        program(signal(1, shape[0], shape[1] + 1, *shape[2:]))


def test_a_process_without_this_library_runs_the_program_and_reads_what_it_is(tmp_path):
    net, x = converted(ResNetLike()).float(), signal(3, 3, 33, 41, dtype=torch.float32)
    isotypic.export(net, (1, 3, 33, 41), tmp_path / "net.pt2", values=(0, 255), metadata={"classes": ["a", "b"]})
    with torch.no_grad():
        torch.save((x, net(x)), tmp_path / "pair.pt")
    code = f"""
        import json, sys
        sys.modules["isotypic"] = None
        import torch
        extra = {{"isotypic.json": ""}}
        net = torch.export.load("{tmp_path}/net.pt2", extra_files=extra).module()
        x, y = torch.load("{tmp_path}/pair.pt", weights_only=True)
        print(json.dumps(json.loads(extra["isotypic.json"])))
        print(float((net(x) - y).abs().max() / y.abs().max()))
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    described, found = ran.stdout.splitlines()[-2:]
    assert json.loads(described) == {
        "classes": ["a", "b"], "size": [33, 41], "step": [0, 0], "dtype": "float32", "values": [0, 255]
    }  # fmt: skip
    assert float(found) < ROUNDING


def test_free_sizes_are_served_and_others_refused(tmp_path):
    net = small().float()
    made = isotypic.export(net, (1, 3, 19, 20), tmp_path / "net.onnx", free_size=True)
    assert made.served == "19 + 2 k x 20 + 2 k"
    isotypic.export(net, (1, 3, 19, 20), tmp_path / "net.pt2", free_size=True)
    runners = in_onnxruntime(made.path)[1], torch.export.load(tmp_path / "net.pt2").module()
    for run, refusal in zip(runners, ("only images of 19 . 2 k x 20 . 2 k are served", "% 2"), strict=True):
        for size in ((19, 20), (31, 16), (7, 48)):
            x = signal(2, 3, *size, dtype=torch.float32)
            with torch.no_grad():
                assert difference(run(x), net(x)) < ROUNDING
        for size in ((20, 20), (19, 21)):
            with pytest.raises(Exception, match=refusal):
                run(torch.zeros(1, 3, *size))


@pytest.mark.parametrize(("ending", "free"), [(".pt2", False), (".onnx", False), (".pt2", True)])
def test_a_file_that_computes_something_else_is_not_left(ending, free, tmp_path, monkeypatch):
    net, wrong = small().float(), small().float()
    with torch.no_grad():
        next(p for p in wrong.parameters() if p.dim() > 1).mul_(1.01)
    fold = exporting.fold
    monkeypatch.setattr(exporting, "fold", lambda model, shape: fold(wrong, shape))
    (tmp_path / f"net{ending}").write_text("an older one")
    with pytest.raises(RequestError, match="expected the file to compute what the network does") as refused:
        isotypic.export(net, (1, 3, 16, 16), tmp_path / f"net{ending}", free_size=free)
    assert ("without free_size it can be written" in str(refused.value)) == free
    assert [path.read_text() for path in tmp_path.iterdir()] == ["an older one"]


def test_bad_requests_are_refused_and_leave_nothing(tmp_path, monkeypatch):
    net = small()
    for model, shape, name, text in (
        (net, (1, 3, 16, 16), "net.pth", r"expected a file that ends in \.pt2 or \.onnx, received 'net.pth'"),
        (net, (1, 3, 16, 16), "net.onnx", "expected a network in torch.float32 for onnx, received torch.float64"),
        (net, (3, 16, 16), "net.pt2", r"expected an input shape \[batch, channels, \*space\], received \[3, 16, 16\]"),
        (net, (1, 4, 16, 16), "net.pt2", "expected .* received"),
        (net, (1, 3, 1, 1), "net.pt2", "does not take an input of shape .* too small"),
    ):
        with pytest.raises(RequestError, match=text):
            isotypic.export(model, shape, tmp_path / name)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RequestError, match=r'needs onnxruntime: pip install "isotypic\[export\]"'):
        isotypic.export(net.float(), (1, 3, 16, 16), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())
