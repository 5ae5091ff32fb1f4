"""What a command and an API call do, once."""
