"""The doors: one folder per client protocol.

Each says which requests are its own, turns them into invocations or operations, and puts errors
into its clients' words. It decides nothing about replicas.

Law: doors know nothing of each other. How to add one: ``docs/design/add-a-door.md``.
"""
