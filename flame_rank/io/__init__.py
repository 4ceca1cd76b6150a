"""Reads and writes files and streams of JSONL, compressed or not; files are written under a temporary name and
renamed."""
