"""Addresses are checked when they are read, and an error says why without quoting them."""

import pytest

from development.sandbox import Sandbox
from estelam.core.addresses import bind, check_listen, check_loopback, check_store_url, check_target, split
from estelam.core.exceptions import ServerError
from estelam.core.settings import ClientSettings, SettingsError, load_settings
from promissory.settings import PromissorySettings
from quality.settings import QualitySettings
from sataad_adapter.settings import SetadSettings

GOOD = ["127.0.0.1:1", "localhost:65535", "[::1]:50051", "[fe80::1%eth0]:1", "my-host.example.:443", "worker_1:9100"]


@pytest.mark.parametrize("address", GOOD)
def test_good_address(address: str) -> None:
    """A name, an IPv4 address or an IPv6 address in brackets, with a port, is an address."""
    assert [address, address] == [check_listen(address), check_target(address)]


BAD = [
    ("127.0.0.1", "port is missing"),
    ("", "port is missing"),
    ("localhost:", "from 1 to 65535"),
    ("127.0.0.1:99999", "from 1 to 65535"),
    ("127.0.0.1:65536", "from 1 to 65535"),
    ("127.0.0.1:0", "from 1 to 65535"),
    ("127.0.0.1:-1", "from 1 to 65535"),
    ("127.0.0.1:۵۰", "from 1 to 65535"),
    ("127.0.0.1:50051 ", "from 1 to 65535"),
    (":50051", "host is missing"),
    ("::1", "in brackets"),
    ("::1:50051", "in brackets"),
    ("[::1]", "from 1 to 65535"),
    ("[::1:50051", "in brackets"),
    ("[localhost]:1", "in brackets"),
    ("127.0.0.256:1", "four numbers"),
    ("127.1:1", "four numbers"),
    ("my host:1", "not a name"),
    ("-host:1", "not a name"),
    ("host..name:1", "not a name"),
    ("مثال:1", "not a name"),
    ("http://host:1", "is a URL or a path: give host:port alone"),
    ("https://[::1]:1/", "is a URL or a path"),
    ("host:1/path", "is a URL or a path"),
    ("localhost:8080:1", "more than one colon"),
    ("x" * 64 + ":1", "not a name"),
]


@pytest.mark.parametrize(("address", "why"), BAD)
def test_bad_address(address: str, why: str) -> None:
    """Any other address is refused with the reason."""
    with pytest.raises(ValueError, match=why):
        check_target(address)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.9.9.9:1", "[::1]:1", "localhost:1"])
def test_loopback(address: str) -> None:
    """Loopback addresses are accepted, and port 0 to listen on."""
    assert address == check_loopback(address)


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "host.example:1", "10.0.0.1:1", "localhost.example:1"])
def test_not_loopback(address: str) -> None:
    """Any other address is refused where loopback is required."""
    with pytest.raises(ValueError, match="loopback"):
        check_loopback(address)


def test_split() -> None:
    """The brackets of an IPv6 address are not part of the host."""
    assert [("::1", 1), ("host", 2)] == [split("[::1]:1"), split("host:2")]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_taken_port(host: str) -> None:
    """A taken port is refused with the setting, the address and the cause."""
    with bind("x.listen", f"{host}:0") as taken:
        taken.listen()
        address = f"{host}:{taken.getsockname()[1]}"
        with pytest.raises(ServerError) as caught:
            bind("promissory.listen", address)

    assert str(caught.value).startswith(f"promissory.listen: {address} can't be bound: another program listens there")


@pytest.mark.parametrize(
    ("address", "cause"), [("192.0.2.1:0", "no such address"), ("nowhere.invalid:0", "can't be resolved")]
)
def test_foreign_address(address: str, cause: str) -> None:
    """An address that this host does not have is refused with the cause."""
    with pytest.raises(ServerError, match=cause):
        bind("promissory.listen", address)


STORES = [
    "sqlite:///folder",
    "sqlite:////srv/a b?c#d%41/ف",
    "postgresql+psycopg://estelam@/x?host=/run/postgresql",
    "postgresql+psycopg://estelam:p%40ss%2Fword@host/x",
    "postgresql+psycopg://estelam:pw@[::1]:5432/x",
    "postgresql+psycopg://host:5432/x",
    "postgresql+psycopg:///x",
]


@pytest.mark.parametrize("url", STORES)
def test_good_store(url: str) -> None:
    """A folder with any characters and a percent-encoded database address are addresses of stores."""
    assert url == check_store_url(url)


SECRET = "Kelid"
BAD_STORES = [
    "sqlite:///",
    "sqlite://folder",
    "sqlite:///a\0b",
    "folder",
    f"postgresql://estelam:{SECRET}@host/x",
    f"postgresql+psycopg://estelam:{SECRET}@t1@host/x",
    f"postgresql+psycopg://estelam:t1@{SECRET}@host/x",
    f"postgresql+psycopg://estelam:t1/{SECRET}@host/x",
    f"postgresql+psycopg://estelam:t1?{SECRET}@host/x",
    f"postgresql+psycopg://estelam:t1#{SECRET}@host/x",
    f"postgresql+psycopg://estelam:t1:{SECRET}@host/x",
    f"postgresql+psycopg://estelam:t1 {SECRET}@host/x",
    f"postgresql+psycopg://estelam:{SECRET}/x",
    f"postgresql+psycopg://estelam:{SECRET}@host:99999/x",
    f"postgresql+psycopg://estelam:{SECRET}@host:{SECRET}/x",
    f"postgresql+psycopg://estelam:{SECRET}@ho st/x",
    f"postgresql+psycopg://estelam:{SECRET}@::1/x",
    f"postgresql+psycopg://estelam:{SECRET}@host/x?application_name=a@b",
]


@pytest.mark.parametrize("url", BAD_STORES)
def test_bad_store(sandbox: Sandbox, url: str) -> None:
    """Any other address of a store is refused, in an error that holds no part of a password."""
    with pytest.raises(SettingsError, match=r"^ESTELAM_PROMISSORY_STORE: ") as caught:
        load_settings(PromissorySettings, environ={**sandbox.environ, "ESTELAM_PROMISSORY_STORE": url})

    assert "\n" not in str(caught.value)
    assert SECRET not in repr(caught.value) + str(caught.value.__cause__)


def test_refused_when_read(sandbox: Sandbox) -> None:
    """Every address in the settings is checked when they are read; the error names its source."""
    wrong = "127.0.0.1:99999"
    for kind, key, value in (
        (PromissorySettings, "listen", wrong),
        (PromissorySettings, "metrics_listen", wrong),
        (SetadSettings, "provider", wrong),
        (SetadSettings, "api_listen", wrong),
        (SetadSettings, "page_listen", wrong),
        (QualitySettings, "listen", wrong),
        (QualitySettings, "addresses", {"promissory-note-inquiry": wrong}),
        (QualitySettings, "metrics", {"promissory-note-inquiry": f"http://{wrong}/metrics"}),
        (QualitySettings, "ledgers", {"promissory-note-inquiry": "postgresql+psycopg://a@b@c/x"}),
        (ClientSettings, "addresses", {"promissory": wrong}),
    ):
        with pytest.raises(SettingsError, match=rf"^--{key.replace('_', '-')}"):
            load_settings(kind, environ=sandbox.environ, **{key: value})
