"""The processes that replicas are forked from, and the standbys that are forked ahead."""
