"""A model as a graph for other runtimes, and the forms that it takes on disk."""
