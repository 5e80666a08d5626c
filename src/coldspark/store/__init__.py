"""State on disk: the database, its migrations, the ledger's journal, and artifacts."""
