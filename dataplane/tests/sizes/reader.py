"""Reads a capture and says a line about every packet.

Scapy works checksums and lengths out anew; what it writes then has to be what it read.
"""
import sys

from scapy.all import ICMP, IP, Raw, defragment, rdpcap
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrFragment,
    defragment6,
)
from scapy.layers.inet import UDP

V6_ERRORS = (ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded)


def rebuilt(ip, error_type):
    """The packet with lengths and checksums that scapy computes; the quotation stays as it is."""
    header = ip.copy()
    error = header.payload
    quote = bytes(error.payload)
    error.remove_payload()
    error.add_payload(Raw(quote))
    if error_type is ICMP:
        del header.len, header.chksum, error.chksum, error.length
    else:
        del header.plen, error.cksum
    return bytes(header)


def say(ip):
    for kind in (ICMP, *V6_ERRORS):
        if kind in ip and ip.payload.__class__ is kind:
            error = ip.payload
            assert rebuilt(ip, kind) == bytes(ip), ip.show(dump=True)
            mtu = error.nexthopmtu if kind is ICMP and error.code == 4 else getattr(error, "mtu", 0)
            print(f"{ip.src} > {ip.dst} {kind.__name__} {error.type}/{error.code} mtu {mtu}"
                  f" about {error.payload.src} > {error.payload.dst}, {len(ip)} octets")
            return
    print(f"{ip.src} > {ip.dst} {ip.summary()}")


fragments = []
for frame in rdpcap(sys.argv[1]):
    ip = frame.payload
    if IPv6ExtHdrFragment in ip or (IP in ip and (ip.flags.MF or ip.frag)):
        fragments.append(ip)
    else:
        say(ip)
v6 = [ip for ip in fragments if IPv6 in ip]
v4 = [ip for ip in fragments if IP in ip]
for whole in [IPv6(bytes(defragment6(v6)))] if v6 else []:
    sums = whole[UDP].chksum
    del whole[UDP].chksum
    assert IPv6(bytes(whole))[UDP].chksum == sums
    print(f"{len(v6)} fragments {whole.src} > {whole.dst} UDP {whole[UDP].len}")
for whole in defragment(v4):
    whole = IP(bytes(whole))
    sums = whole[UDP].chksum
    del whole[UDP].chksum
    assert IP(bytes(whole))[UDP].chksum == sums
    print(f"{len(v4)} fragments {whole.src} > {whole.dst} UDP {whole[UDP].len}")
