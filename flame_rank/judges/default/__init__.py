"""The judge that ships: its evidence, and how it is weighted."""
