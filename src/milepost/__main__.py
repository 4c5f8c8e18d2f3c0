"""Run the command line as `python -m milepost`."""

from milepost.cli.main import main

main()
