"""Files and streams: JSONL in and out, compressed or not, written beside and renamed."""
