"""Fixtures for all tests."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """Folder of real data beside the checkout; a test that uses it carries the marker ``shared``."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the data in ../shared, beside the checkout")
    return SHARED
