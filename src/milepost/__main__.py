"""`python -m milepost`."""

from milepost.cli.main import main

main()
