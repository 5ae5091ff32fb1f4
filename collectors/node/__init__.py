"""Collectors that read one node; light, rooted, isolated."""
