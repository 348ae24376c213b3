"""Stage directories: whole or not there, and computed by one process."""
