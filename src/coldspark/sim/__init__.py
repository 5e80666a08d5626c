"""The production fleet in virtual time: traces, platforms, the planner and its report.

Parts: ``simulator``, scenarios in ``plan_request``, ``candidates``, ``planner``, ``frontier``,
``break_even``, ``report``.

Law: it reaches ``fleet``, ``billing``'s pure rules and ``spec`` alone; same seed, same report.
"""
