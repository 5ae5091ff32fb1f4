"""A seeded cluster that emits the same rows as a real one."""
