"""The command `estelam judiciary verify-facts`, which needs the extra `loading`; loads start sooner without it."""

from functools import partial

from estelam.cli.verify_facts import verify_facts as compare_facts
from judiciary.feeds import FEEDS
from judiciary.settings import JudiciarySettings

verify_facts = partial(compare_facts, JudiciarySettings, FEEDS)
