"""HTML pages of samples."""
