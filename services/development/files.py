"""Files that the wheel carries: catalogue, rules of quality, sample data, documentation and deployment files.

In the repository, `data` holds links to the folders of the same names.
"""

from pathlib import Path

DATA = Path(__file__).resolve().parent / "data"
CATALOGUE = DATA / "catalogue"
RULES = DATA / "rules" / "quality.toml"
SAMPLES = DATA / "samples"
DOCS = DATA / "docs"
DEPLOY = DATA / "deploy"
