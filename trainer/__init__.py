"""Builds and measures the judge."""
