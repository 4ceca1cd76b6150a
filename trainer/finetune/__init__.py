"""From a base model and a mixture to a checkpoint."""
