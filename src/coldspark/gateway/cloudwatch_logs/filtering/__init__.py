"""Filter patterns: which events a search wants. Pure, and bounded in time for any pattern."""
