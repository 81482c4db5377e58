"""A limit on the memory that reading a file takes, where its size tells nothing of the size of its content."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_BYTES = 512 << 20
"""What a file may take beyond what the process has. A row group of a million honest rows takes half of it."""


@contextmanager
def limited_memory(most: int = MAX_BYTES) -> Iterator[None]:
    """Let allocations fail, with MemoryError, once the process has taken *most* bytes more than it has now.

    A file of some kilobytes may state content of gigabytes, in more ways than its metadata shows: a long value that
    many rows refer to, pages that repeat a prefix, sizes that are not true. So what is limited is the memory itself, by
    the address space, which covers the libraries' own allocations.
    """
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + most
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
