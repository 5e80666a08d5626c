"""The doors: one folder per client protocol.

Each says which requests are its own, turns them into invocations or operations, and puts errors
into its clients' words. It decides nothing about replicas.

Parts: ``door`` (what a door is, and the registry of all), ``ports`` (what doors need of other
rooms), and a folder for each. In a folder: ``door`` (its record), ``invocations`` (its hot path),
``routes``, ``operations``, ``shapes``, ``errors``, as far as it needs them.

Law: doors know nothing of each other. How to add one: ``docs/design/how-to-add-a-door.md``.
"""
