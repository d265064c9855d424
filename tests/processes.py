"""Two processes that train together, as torchrun starts them."""

import os
import subprocess
import sys

import torch

TESTS = os.path.dirname(__file__)


def learned_together(script, found, *words, seconds=240):
    """Run a script in two processes and return what it saved at ``found``, its first argument."""
    options = ("--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2")
    paths = os.pathsep.join([TESTS, str(script.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *options, *map(str, (script, found, *words))],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(found, weights_only=True)
