"""Scalable targets: rules from outside that move a fleet's bounds.

Parts: ``capacity`` (what policies want together; pure), ``scalable_target`` (records),
``service``, ``target_tracking``, ``scheduled_actions``, ``repository``.

Law: it moves ``replicas_min`` and ``replicas_max`` of a variant and nothing else; within them the
fleet decides.
"""
