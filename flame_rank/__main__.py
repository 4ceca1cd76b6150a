"""`python -m flame_rank`."""

from flame_rank.cli import main

main()
