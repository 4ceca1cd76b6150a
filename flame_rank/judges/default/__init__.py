"""The judge that ships: its evidence without a model, and how it is weighed."""
