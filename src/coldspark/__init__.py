"""Serverless GPU inference on your own machines."""

import os

__version__ = "0.1.0"

if os.path.exists(os.path.join(os.path.dirname(__file__), "compiled.json")):
    from coldspark.compiled import refuse_if_stale

    refuse_if_stale()
