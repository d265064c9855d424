"""One process of the test of DistributedDataParallel; RANK, STORE and RESULT come by the environment."""

import copy
import os

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from isotypic.nn import GroupConv2d, InvariantHead


def main() -> None:
    rank = int(os.environ["RANK"])
    distributed.init_process_group("gloo", init_method=f"file://{os.environ['STORE']}", rank=rank, world_size=2)
    torch.manual_seed(0)
    net = nn.Sequential(
        GroupConv2d(1, 4, 3, "p4m", lift=True, stride=2),
        nn.ReLU(),
        GroupConv2d(4, 4, 3, "p4m"),
        InvariantHead(4, 3, "p4m"),
    ).double()
    images = torch.randn(4, 1, 12, 12, dtype=torch.float64)
    whole = copy.deepcopy(net)
    (whole(images) ** 2).mean().backward()
    parallel = DistributedDataParallel(net)
    (parallel(images[2 * rank : 2 * rank + 2]) ** 2).mean().backward()
    gradients = {"parallel": [p.grad for p in net.parameters()], "whole": [p.grad for p in whole.parameters()]}
    torch.save(gradients, f"{os.environ['RESULT']}/{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
