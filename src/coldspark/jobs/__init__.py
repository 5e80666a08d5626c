"""Durable jobs: accepted once on disk, run at least once, ended once.

Parts: ``rules`` (the queue and its leases; pure), ``messages``, ``jobs_table``, ``runner`` (acts
for the rules), ``attempt``, ``completion``, ``outbox`` and ``webhook_sender``.

Law: written before each effect; the first final state wins.
"""
