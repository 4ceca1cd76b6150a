"""May this judge be trusted on these data? What can be seen without labels, and how right it is with some."""
