"""What replicas print: pipes, lines, and the newest of them in memory."""
