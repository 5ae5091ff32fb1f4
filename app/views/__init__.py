"""The pages: one module each, found by discovery."""
