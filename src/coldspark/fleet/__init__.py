"""One variant decides: its queue, its replicas, dispatch and scaling. Pure.

Parts: ``fleet`` (``Fleet.step(event, now_s)`` returns effects), ``dispatch`` and
``request_queue``, ``replica_lifecycle`` (the table of phases), ``replica_scaling`` with
``policies`` (one scaling rule each) and ``idle_policy`` (which warmth pays for how long),
``placement`` (several fleets share machines), ``deployment`` (a change by steps), ``driver``
(inbox and effect loop, the same for production, the simulator and tests).

Law: no I/O, no clock, no randomness, no logging, no ``async``; state changes inside ``step``
alone, and every machine has ``check()``.
How to add a rule: ``docs/design/how-to-add-a-scaling-rule.md``.
"""
