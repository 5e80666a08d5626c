"""The AWS door: SageMaker's control plane and invocations, for unmodified AWS clients.

``routes`` is the control plane, ``invocations`` the hot path's part. What of AWS's requests is
honoured, and what is refused rather than ignored, is listed in ``shapes``.
"""
