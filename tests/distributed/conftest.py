"""The ranks of these tests find this folder's modules, and share threads as if nothing were set."""

import os
import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
