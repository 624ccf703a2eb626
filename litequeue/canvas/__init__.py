"""Calls as values: signatures."""
