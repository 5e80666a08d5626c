"""One file per version of the database. A released one is never changed."""
