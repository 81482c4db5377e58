"""The command `estelam promissory verify-facts`, which needs the extra `loading`; loads start sooner without it."""

from functools import partial

from estelam.cli.verify_facts import verify_facts as compare_facts
from promissory.feeds import FEEDS
from promissory.settings import PromissorySettings

verify_facts = partial(compare_facts, PromissorySettings, FEEDS)
