"""The commands `estelam promissory load-notes` and `load-agencies`, which need the extra `loading`."""

from functools import partial

from estelam.cli.load import load_file
from promissory.feeds import MEMBERS, NOTES
from promissory.settings import PromissorySettings

load_notes = partial(load_file, PromissorySettings, NOTES)
load_agencies = partial(load_file, PromissorySettings, MEMBERS)
