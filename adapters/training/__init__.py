"""Teaching the experts: examples to LoRA adapters."""
