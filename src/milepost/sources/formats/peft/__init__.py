"""PEFT adapters: folder layout."""
