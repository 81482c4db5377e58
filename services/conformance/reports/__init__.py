"""Reports of a run: on the terminal, as JUnit XML, as signed JSON, and as one HTML page."""
