"""Evaluation: from observations to the report that one audience may see, and the results of the quality rules."""
