"""Stands before the installed package of this name, so that no test depends on whether it is there."""
