"""The production core in virtual time: traces in, waits and costs out."""
