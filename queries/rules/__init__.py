"""One module per right-sizing rule."""
