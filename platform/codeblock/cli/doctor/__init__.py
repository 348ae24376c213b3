"""What would stop a run: on this machine, and for a config on its cluster."""
