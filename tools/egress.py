"""Where a tool may connect to: the domains that policy.yaml names for it, and no address of a private network."""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]
"""Host, port → every address that the name stands for. Raises: OSError."""

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Written out, since what `ipaddress` counts as private differs between the releases of Python.
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
            *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            *("::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16"),
            *("::ffff:0:0:0/96", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
        ),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Refused(PermissionError):
    """A connection that the rules do not allow; the text says why."""


@dataclass(frozen=True)
class Egress:
    """The rules of one tool."""

    domains: tuple[str, ...]
    """`example.com`, `*.example.com` for all below it, `*` for every name; an address only where it stands here."""
    private_addresses: bool = False
    """True: addresses of this machine and the local network are allowed, where their domain is."""

    def check_host(self, host: str) -> str:
        """Return the host as it is compared and looked up. Raises: Refused when no domain covers it."""
        plain = plain_host(host)
        if not any(_covers(pattern, plain) for pattern in self.domains):
            allowed = ", ".join(self.domains) or "none"
            raise Refused(f"{plain} is not among the domains that policy.yaml allows here ({allowed})")
        return plain

    def check_address(self, host: str, address: str) -> str:
        """Return the address to connect to. Raises: Refused when it belongs to a private network."""
        found = address_of(address)
        if found is None:
            raise Refused(f"{host} leads to {address!r}, which is no address")
        if not self.private_addresses and is_private(found):
            told = host if host == str(found) else f"{host} leads to {found}, which"
            raise Refused(f"{told} is an address of this machine or a private network")
        return str(found)

    def addresses(self, host: str, port: int, resolve: "Resolver | None" = None) -> list[str]:
        """Look a host up once; return its addresses, each of which may be connected to.

        One private address among several refuses them all: which of them is taken must not be left to chance.

        Raises: Refused; OSError when the name is not known.
        """
        plain = self.check_host(host)
        literal = address_of(plain)
        found = [plain] if literal is not None else (resolve or look_up)(plain, port)
        if not found:
            raise OSError(f"no address is known for {plain}")
        return list(dict.fromkeys(self.check_address(plain, address) for address in found))


def plain_host(host: str) -> str:
    """Return a host in small letters, in punycode and without a dot at its end; an address in its usual form.

    Raises: Refused for what is no host, and for addresses in forms that are read differently by different programs.
    """
    text = host.strip("[]") if host.startswith("[") else host
    if (found := address_of(text)) is not None and "%" not in text:
        return str(found)
    if not text.isascii():
        # The two standards of internationalised names read these four differently: one name, two hosts.
        try:
            text = "" if set(text) & set("ßς\u200c\u200d") else text.encode("idna").decode("ascii")
        except UnicodeError:
            text = ""
    labels = text.lower().removesuffix(".").split(".")
    if len(text) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise Refused(f"{host!r} is no name of a host")
    if _NUMBER.fullmatch(labels[-1]):  # `2130706433` and `0x7f.1` are 127.0.0.1 to the system
        raise Refused(f"{host!r} is an address in an unusual form")
    return ".".join(labels)


def address_of(text: str) -> Address | None:
    """Return the IP address that a text is; None when it is none."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def is_private(address: Address) -> bool:
    """Say whether an address may belong to this machine or a network that is not public, also behind a translation."""
    if any(address in network for network in _PRIVATE if network.version == address.version):
        return True
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        known = [one for one in inner if one is not None]
        return any(map(is_private, known)) if known else not address.is_global
    return not address.is_global or address.is_multicast


def look_up(host: str, port: int) -> list[str]:
    """Return every address of a name, as the system knows it. Raises: OSError."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _covers(pattern: str, host: str) -> bool:
    if pattern == "*":
        return address_of(host) is None
    below = pattern.startswith("*.")
    try:
        plain = plain_host(pattern[2:] if below else pattern)
    except Refused:
        return False
    return host.endswith(f".{plain}") and address_of(host) is None if below else host == plain
