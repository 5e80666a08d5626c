"""The words between supervisor and template: one JSON object a packet, on a SEQPACKET socket.

The supervisor starts ``python -P bootstrap.py FD`` (``FD``: the template's end of the socket,
inheritable; without -P before Python 3.11). Its environment is what the import sees, so it holds
the revision's variables. To find a fork's mark in /proc, the template needs room for one in its
environment: unless ``COLDSPARK_REPLICA`` has 64 characters it executes itself again (same pid).

    supervisor -> template
      {"op": "prepare", "program": path | null, "paths": [dir, …], "model_dir": dir | null,
       "setup_dir": dir | null, "learned": [module, …], "cgroups": [cgroup.procs path, …]}
            Join the cgroups. Put ``paths`` first on sys.path and import the program's module, once.
            ``null``: nothing to import (the template of commands). With a ``model_dir`` the model
            is loaded as well, and replicas are forked with it; if that rules a fork out, what the
            program's ``setup_fn`` returned is kept, or imports alone. With a ``setup_dir``
            ``setup_fn`` runs and the model is not loaded. The modules of ``learned`` are imported
            after the program; what rules a fork out is told as denied.
      {"op": "stand_by", "standby": name, "cgroups": [cgroup.procs path, …], "load": bool}
            Fork a process ahead: it joins the cgroups and waits to become a replica. It is used
            once. Nothing happens in a template that is not fork-safe. With ``load`` it loads the
            model that could not be loaded before the fork, and does not wait for an order to.
      {"op": "fork", "replica": id, "argv": [word, …] | null, "environment": {…}, "cwd": dir,
       "model_dir": dir | null, "concurrency": n, "batch_size_max": n, "batch_wait_s": s,
       "cgroups": [cgroup.procs path, …], "uid": n | null, "processes_max": n,
       "standby": name | null}
            with descriptors: stdout, stderr, and (handler only) the channel's end. ``argv`` not
            null: the child executes it (a command). ``environment`` is laid over the template's
            own. ``replica`` has at most 64 bytes. ``cgroups`` belong to this replica alone: what
            is in them dies with it. ``gid`` may be given besides ``uid``. A handler without a
            ``model_dir`` gets ``cwd``. With ``standby`` that process becomes the replica (the
            order names its cgroups); one that is gone is replaced by a fork. A template that is
            not fork-safe has dropped its program, and executes a fresh interpreter instead of
            forking; nothing else differs.
      {"op": "signal", "replica": id, "signal": n}
            Signal the replica's whole process group (the template has not reaped it: no pid reuse).
      {"op": "sweep", "replica": id}
            Kill whatever the replica left behind in its group or carrying its mark
            (``COLDSPARK_REPLICA=id`` in its environment), and the replica itself if it lives.

    template -> supervisor
      {"event": "prepared", "import_us": n, "fork_safe": bool, "reason": text | null,
       "has_model": bool, "has_setup": bool, "loads_ahead": bool, "learned": n,
       "denied": {module: reason}, "learned_us": n, "load_us": n, "load_private_bytes": n}
            ``reason`` says why the program, or only its model, is not held; ``loads_ahead``, that
            a process that stands by may load it. ``learned`` counts the modules that were imported
            besides the program's. The last two are of what was loaded: how long, and how much
            private memory it made.
      {"event": "standing", "standby": name, "pid": n}
      {"event": "loaded_ahead", "standby": name, "load_us": n, "trouble": text | null}
      {"event": "fell", "standby": name}      a process that stood by is gone, unused
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
