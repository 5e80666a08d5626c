"""Endpoints at work: what is deployed, and the way of a request through its fleets.

Parts: ``platform`` (deploy, remove, submit), ``controller`` (performs what fleets decide),
``call`` (one request, its bill and its waterfall), ``traffic_split``, ``deployments``,
``scheduled_scaling``, ``shadow`` and ``capture``, ``views``, and ``ports``: what it needs of an
engine, of storage and of metrics.

Law: it never imports ``node``: an engine is a port. Everything runs on the event loop's thread.
"""
