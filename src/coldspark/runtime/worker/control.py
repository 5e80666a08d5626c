"""The words between supervisor and template: one JSON object a packet, on a SEQPACKET socket.

The supervisor starts ``python -P bootstrap.py FD`` (``FD``: the template's end of the socket,
inheritable; without -P before Python 3.11). Its environment is what the import sees, so it holds
the revision's variables. To find a fork's mark in /proc, the template needs room for one in its
environment: unless ``COLDSPARK_REPLICA`` has 64 characters it executes itself again (same pid).

    supervisor -> template
      {"op": "prepare", "program": path | null, "paths": [dir, …]}
            Put ``paths`` first on sys.path and import the program's module, once. ``null``: nothing
            to import (the template of commands).
      {"op": "fork", "replica": id, "argv": [word, …] | null, "environment": {…}, "cwd": dir,
       "model_dir": dir | null, "concurrency": n, "cgroups": [cgroup.procs path, …],
       "uid": n | null, "processes_max": n}
            with descriptors: stdout, stderr, and (handler only) the channel's end. ``argv`` not
            null: the child executes it (a command). ``environment`` is laid over the template's
            own. ``replica`` has at most 64 bytes. ``cgroups`` belong to this replica alone: what
            is in them dies with it. ``gid`` may be given besides ``uid``. A handler without a
            ``model_dir`` gets ``cwd``. A template that is not fork-safe has dropped its program,
            and executes a fresh interpreter instead of forking; nothing else differs.
      {"op": "signal", "replica": id, "signal": n}
            Signal the replica's whole process group (the template has not reaped it: no pid reuse).
      {"op": "sweep", "replica": id}
            Kill whatever the replica left behind in its group or carrying its mark
            (``COLDSPARK_REPLICA=id`` in its environment), and the replica itself if it lives.

    template -> supervisor
      {"event": "prepared", "import_us": n, "fork_safe": bool, "reason": text | null}
      {"event": "broken", "cause": RootCause, "message": text, "traceback": text}   and it exits
      {"event": "forked", "replica": id, "pid": n}
      {"event": "exited", "replica": id, "pid": n, "status": n}     minus a signal's number
            Told once what the replica left behind is dead.
      {"event": "fork_failed", "replica": id, "message": text}

When the socket ends (the supervisor died) the template kills every replica with all its
descendants and exits, as it does on SIGTERM. A replica dies with its template (parent-death
signal); what a replica had started is then left to the supervisor, that is, to its cgroups.
An order that cannot be read is dropped with a remark on stderr.
"""

PACKET_MAX_BYTES = 128 * 1024

EXIT_BOOT_FAILED = 78
"""Exit code of a template or replica that cannot load: starting it again will not help."""
EXIT_ORPHANED = 79
"""Exit code of a template whose supervisor is gone."""
