"""Downloads: addresses in the environment, bytes under way, the progress bars of other libraries."""
