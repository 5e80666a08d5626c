"""Durable jobs: taken, run as there is room, answered where they asked, and told of."""
