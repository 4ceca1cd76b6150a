"""Measures whether a judge can be trusted on given data: its faults, which need no labels, and its accuracy, which
does."""
