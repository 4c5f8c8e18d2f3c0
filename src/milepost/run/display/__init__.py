"""Log a run and show how far it is: journal, progress and the estimate of its time."""
