"""Mutated files of all layouts (`benchmarks/fuzz_readers.py`): a small part of that run, the same inputs each time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def one(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import fuzz_readers

    yield fuzz_readers.one
    sys.modules.pop("fuzz_readers")


def test_sixty_inputs_without_fault(one):
    entries = [one(seed) for seed in range(1, 61)]
    assert [entry for entry in entries if entry["outcome"].startswith("fault")] == []
    assert {entry["outcome"] for entry in entries} == {"result", "refused"}
    assert sum(entry["mutation"].startswith("junk") for entry in entries) > 10
