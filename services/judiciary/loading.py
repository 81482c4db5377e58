"""The command `estelam judiciary load-cases`, which needs the extra `loading`."""

from functools import partial

from estelam.cli.load import load_file
from judiciary.feeds import CASES
from judiciary.settings import JudiciarySettings

load_cases = partial(load_file, JudiciarySettings, CASES)
