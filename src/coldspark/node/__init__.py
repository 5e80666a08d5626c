"""One machine as an engine: what replicas really are.

Parts: ``engine`` (the port's implementation), ``replica`` (a process's life), ``templates``
(what replicas are forked from), ``transport`` (frames and HTTP to a replica), ``gpu``,
``models``, ``logs``, ``sandbox``, ``environments``, ``cgroups``, ``doctor``, and ``worker``
(which runs inside the user's environment).

Law: it knows the platform's ports, never doors or HTTP servers. A process it starts is reaped by
it. How to add another engine: ``docs/design/how-to-add-an-engine.md``.
"""
