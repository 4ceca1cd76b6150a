"""The HTML report, which shows how each ranking came about."""
