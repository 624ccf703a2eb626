"""Integrations that are not part of the core: testing, pydantic."""
