"""Judgements that are kept on disk, so that none is asked twice."""
