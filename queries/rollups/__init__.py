"""One module per computed table."""
