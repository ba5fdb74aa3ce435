"""Lets these tests import the helpers of tests/ir and of this folder, under any import mode."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "ir")]
