"""Keeps judgements on disk, so that none is asked for twice."""
