"""The rigs of these tests are found by their names."""

import sys
from pathlib import Path

_TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(_TESTS / "gateway" / "sagemaker")]
