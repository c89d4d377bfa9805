"""The experts: what each asks the model, and how its answer is read."""
