"""How a test runs a command."""

import sys
from types import SimpleNamespace

import pytest

from isotypic.cli.main import main


@pytest.fixture
def isotypic(monkeypatch, capfd):
    """Run a command in this process: exit code, output, errors."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["isotypic", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        return SimpleNamespace(returncode=ended.value.code or 0, stdout=captured.out, stderr=captured.err)

    return run
