"""Peak memory: a known allocation is seen, none is not, and what was freed before does not hide it."""

import pytest
import torch

from isotypic.bench import memory
from isotypic.bench.layers import LayerCase
from isotypic.bench.setting import Setting

MIB = 2**20

needs_linux = pytest.mark.skipif(not memory.CLEAR.exists(), reason="this system says nothing of peak memory")


@needs_linux
def test_a_known_allocation_is_seen_and_none_is_not():
    def allocate():
        torch.ones(64 * MIB, dtype=torch.uint8)

    assert memory.peak(allocate) == pytest.approx(64 * MIB, abs=2 * MIB)
    assert memory.peak(lambda: None) < MIB
    held = torch.ones(64 * MIB, dtype=torch.uint8)
    assert memory.peak(lambda: held.add_(1)) < 2 * MIB


@needs_linux
def test_memory_that_was_freed_before_is_counted_when_it_is_taken_again():
    def small_blocks():
        return [torch.ones(32 * 1024, dtype=torch.uint8) for _ in range(1024)]

    small_blocks()
    assert memory.peak(small_blocks) == pytest.approx(32 * MIB, rel=0.2)


@needs_linux
def test_a_layer_in_a_fresh_process_takes_at_least_its_output():
    case = LayerCase(dim=2, group="C4", kernel=1, channels=64, size=128, batch=1, mode="forward")
    output = 4 * 64 * 128**2
    for name in ("ours", "plain"):
        assert output <= memory.fresh_peak("layers", case, Setting(), name) < 8 * output


def test_without_a_figure_it_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "nowhere" / "clear_refs")
    assert memory.peak(lambda: None) is None


def test_a_process_that_fails_gives_none_and_says_so(caplog):
    case = LayerCase(dim=2, group="p77", kernel=1, channels=8, size=7, batch=1, mode="forward")
    assert memory.fresh_peak("layers", case, Setting(), "ours") is None
    assert "unknown group of the plane 'p77'" in caplog.text
