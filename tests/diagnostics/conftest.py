"""Puts the folder on the path, so that tests share literate.py."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent)]
