"""The command `flame-rank`: one file a command, and the options that several of them have."""
