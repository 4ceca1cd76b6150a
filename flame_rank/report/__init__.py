"""The page that shows why each candidate stands where it does."""
