"""What is remembered: reviews and summaries in SQL, their vectors in Chroma."""
