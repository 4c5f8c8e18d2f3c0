"""Training runs on the Hugging Face Hub: address, listing, download, bounds on what a Hub may answer."""
