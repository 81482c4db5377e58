"""Commands of the repository: generating, linting, running, demonstrating."""
