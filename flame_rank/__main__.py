"""`python -m flame_rank`."""

from flame_rank.cli.group import main

main()
