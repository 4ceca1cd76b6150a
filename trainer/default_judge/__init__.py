"""Learns how much each kind of evidence counts in the judge that ships."""
