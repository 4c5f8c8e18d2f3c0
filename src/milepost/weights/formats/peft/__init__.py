"""PEFT adapters: read, and merged into their base model."""
