"""Logging, node names, processor counts."""
