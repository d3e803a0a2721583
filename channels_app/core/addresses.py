"""Which addresses this server may be sent to by what somebody configured: those of the public internet, and no other.

Imports nothing of Django.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

_PUBLIC_IPV6 = IPv6Network("2000::/3")  # all that is given out; the rest is local, reserved, or wraps an IPv4 address
_NAT64 = IPv6Network("64:ff9b::/96")
# What Python 3.11 still takes for public.
_NOT_PUBLIC = tuple(map(ip_network, ("192.88.99.0/24", "3fff::/20")))


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Raises ValueError, which names what is no network ("10.0.0.0/8")."""
    return tuple(map(ip_network, texts))


def may_connect(address: str, allowed: Sequence[Network]) -> bool:
    """Whether a request may go to that address (as a socket names it): it is public, or in an allowed network."""
    found = _innermost(ip_address(address.partition("%")[0]))
    return any(found in network for network in allowed) or _is_public(found)


def _innermost(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that packets to an IPv6 one end up at, if there is one."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _PUBLIC_IPV6:
        return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _NOT_PUBLIC)
