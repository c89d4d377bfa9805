"""LoRA adapters, and what runs and makes them."""
