"""Several router processes of one server: a lead, which is router 0, and those that it started."""
