"""What people ask for: ids, specs, policies, sizes, and the events and effects of a fleet.

Parts: ``types`` (endpoint, variant, revision, resources, failures), ``messages`` (events and
effects of a fleet and placement), ``scale_policy`` and ``scaling_rules``, ``deployment_policy``,
``scheduled_scaling``, ``multi_model``, ``warmth``, ``waterfall`` (where a request's time went),
``money`` and ``units``.

Law: records only, valid once they exist; no I/O, no clock. Everything else may import it.
"""
