"""Services of a cluster that are asked at a pace: one file per kind of service."""
