"""Runs untrusted Python programs so that they can neither do harm nor forge their results."""
