"""The commands `estelam judiciary load-cases` and `verify-facts`, which need the extra `loading`."""

from functools import partial

from estelam.cli.load import load_file
from estelam.cli.verify_facts import verify_facts as compare_facts
from judiciary.feeds import CASES, FEEDS
from judiciary.settings import JudiciarySettings

load_cases = partial(load_file, JudiciarySettings, CASES)
verify_facts = partial(compare_facts, JudiciarySettings, FEEDS)
