"""Training runs on the Hugging Face Hub: addresses, listings, downloads and limits on responses."""
