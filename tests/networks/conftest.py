"""Lets the tests of this folder import `networks`, under any import mode."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def beside(write):
    """The folder of the spec."""
    return write("").parent
