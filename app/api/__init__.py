"""The API under /api/v1/: health, ingestion from agents, and every service."""
