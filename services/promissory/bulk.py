"""`estelam promissory bulk-check`: CheckNote for every row of a list of notes."""

from functools import partial

from estelam.cli.bulk.command import check_list
from estelam.cli.bulk.question import Question
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from promissory.methods import CHECK_NOTE

NOTES = Question(
    service="promissory",
    method=CHECK_NOTE.name,
    request=pb.CheckNoteRequest,
    reply=pb.CheckNoteResponse,
)

bulk_check = partial(check_list, NOTES)
