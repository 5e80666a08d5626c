"""The composition root: one server, put together and taken apart in good order.

Parts: ``process`` (the parts of one process, and the steps that all take), ``server`` (the one
process, or the primary of several), ``worker_process`` (a router beside it), ``doors`` (the list
of doors, and the port that they share), ``run`` (logging and signals).

Law: here alone every room meets; nothing imports it but the command line.
"""
