"""What runs inside the peers' own environments: nothing here imports coldspark."""
