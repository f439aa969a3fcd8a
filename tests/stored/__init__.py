"""Recorded events of every class and version."""
