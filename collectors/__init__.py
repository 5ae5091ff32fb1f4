"""Sources to typed rows, one file each."""
