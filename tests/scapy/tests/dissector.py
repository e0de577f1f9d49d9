"""A capture with one packet of each kind that RFC 6618 section 6 knows, for Wireshark to read.

Written from the RFC alone. The file's name is the argument.
"""

import struct
import sys

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import HAO, ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, MIP6MH_BU, PadN
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

MN, HA, HOME = "2001:db8:6::100", "2001:db8:a::10", "2001:db8:1::5"
SPI = 0x1234567
ICV = bytes(range(0xA0, 0xAC))


def envelope(ptype, spi, sequence, rest):
    return struct.pack("!II", ptype << 28 | spi, sequence) + rest


def with_trailer(payload, next_header):
    padding = -(len(payload) + 2) % 4
    return payload + bytes(range(1, padding + 1)) + bytes([padding, next_header])


def outer(payload, ip):
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    return ether / ip / UDP(sport=50000, dport=7872) / Raw(payload)


def main():
    v6, v4 = IPv6(src=MN, dst=HA), IP(src="10.0.0.9", dst="192.0.2.1")
    inner = bytes(IPv6(src=HOME, dst="2001:db8:77::1") / ICMPv6EchoRequest(id=1, seq=2, data=b"hi"))
    inner4 = bytes(IP(src="198.51.100.5", dst="203.0.113.1", proto=17) / UDP(sport=1, dport=9))
    home = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0\0"), HAO(hoa=HOME)])
    update = bytes(v6 / home / MIP6MH_BU(seq=3, flags=0xC0, mhtime=30))[40:]
    ciphertext = bytes((i * 151 + 7) % 256 for i in range(64))
    packets = [
        (envelope(0, 0, 0, inner), v6),
        (envelope(1, SPI, 7, with_trailer(inner, 41) + ICV), v6),
        (envelope(1, SPI, 8, with_trailer(inner4, 4)), v4),
        (envelope(8, SPI, 9, with_trailer(update, 60) + ICV), v6),
        (envelope(8, SPI, 10, with_trailer(update, 60)), v4),
        (envelope(8, SPI, 11, ciphertext), v6),
        # What looks like a trailer, but not of what stands before it.
        (envelope(1, SPI, 12, with_trailer(inner + bytes(4), 41) + ICV), v6),
        (b"\xff", v4),
        (b"abc", v6),
        (envelope(5, 1, 1, bytes(20)), v6),
        (envelope(0, 1, 0, inner), v6),
    ]
    wrpcap(sys.argv[1], [outer(payload, ip) for payload, ip in packets])


main()
