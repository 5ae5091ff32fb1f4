"""The ground floor: what is recorded, in which unit, and where it is kept."""
