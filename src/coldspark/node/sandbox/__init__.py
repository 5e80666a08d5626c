"""What a replica has of its own on this machine: its scratch directory."""
