"""`python -m trainer`."""

from trainer.cli.group import main

main()
