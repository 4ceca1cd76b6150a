"""The command `flame-train`: one file a command."""
