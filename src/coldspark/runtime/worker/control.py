"""The words between supervisor and template: one JSON object a packet, on a SEQPACKET socket.

The supervisor starts ``python -P bootstrap.py FD`` (``FD``: the template's end of the socket).

    supervisor -> template
      {"op": "prepare", "program": path | null, "paths": [dir, …]}
            Put ``paths`` first on sys.path and import the program's module, once. ``null``: nothing
            to import (the template of commands).
      {"op": "fork", "replica": id, "argv": [word, …] | null, "environment": {…}, "cwd": dir,
       "model_dir": dir | null, "concurrency": n, "cgroups": [cgroup.procs path, …],
       "uid": n | null, "processes_max": n}
            with descriptors: stdout, stderr, and (handler only) the channel's end. ``argv`` not
            null: the child executes it (a command).
      {"op": "signal", "replica": id, "signal": n}
            Signal the replica's whole process group (the template has not reaped it: no pid reuse).
      {"op": "sweep", "replica": id}
            Kill whatever the replica left behind in its group or carrying its mark
            (``COLDSPARK_REPLICA=id`` in its environment).

    template -> supervisor
      {"event": "prepared", "import_us": n, "fork_safe": bool, "reason": text | null}
      {"event": "broken", "cause": RootCause, "message": text, "traceback": text}   and it exits
      {"event": "forked", "replica": id, "pid": n}
      {"event": "exited", "replica": id, "pid": n, "status": n}     minus a signal's number
      {"event": "fork_failed", "replica": id, "message": text}

When the socket ends (the supervisor died) the template kills every replica with all its
descendants and exits. A replica dies with its template (parent-death signal).
"""

PACKET_MAX_BYTES = 128 * 1024

EXIT_BOOT_FAILED = 78
"""Exit code of a template or replica that cannot load: starting it again will not help."""
EXIT_ORPHANED = 79
"""Exit code of a template whose supervisor is gone."""
