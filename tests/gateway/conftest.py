"""Let the gateway's tests import their fakes and raw clients."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
