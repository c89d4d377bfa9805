"""The registry: which adapter versions there are, and which of them answer."""
