"""More than one process: several routers on one port, one of them the primary.

Parts: ``ownership`` (which router has an endpoint), ``handoff`` (connections to their router),
``primary`` and ``worker_rpc``, ``messages`` and ``frames``, ``placement``, ``usage_totals``.

Law: each endpoint has one router; placement and the bill are one.
"""
