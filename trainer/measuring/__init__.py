"""Measures how well judges agree with people."""
