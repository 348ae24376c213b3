"""What every room stands on: the config, the columns, storage, models, rendering."""
