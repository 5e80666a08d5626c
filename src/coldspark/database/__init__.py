"""One database: connection, schema, migrations.

Parts: ``database`` (one writer, its rule), ``dialect`` (all that differs between databases),
``schema``, ``migrations``, ``group_commit``, ``data_directory``.

Law: SQL is SQLAlchemy Core; no other room knows which database it is.
"""
