"""The command `flame-rank`: one file per command, and the options that several commands share."""
