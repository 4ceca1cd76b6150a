"""The command `flame-train`: one file per command."""
