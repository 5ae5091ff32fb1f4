"""Readers of schedulers' dumps, one file per format."""
