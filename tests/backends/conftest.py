"""Lets the tests of this folder import `fx_agreement` and `onnx_agreement`, under any import mode."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
