"""whylike: why would I like this? Explained ratings from what people wrote."""

__version__ = "0.1.0"
