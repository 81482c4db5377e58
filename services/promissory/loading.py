"""The commands `estelam promissory load-notes`, `load-agencies` and `verify-facts`, which need the extra `loading`."""

from functools import partial

from estelam.cli.load import load_file
from estelam.cli.verify_facts import verify_facts as compare_facts
from promissory.feeds import FEEDS, MEMBERS, NOTES
from promissory.settings import PromissorySettings

load_notes = partial(load_file, PromissorySettings, NOTES)
load_agencies = partial(load_file, PromissorySettings, MEMBERS)
verify_facts = partial(compare_facts, PromissorySettings, FEEDS)
