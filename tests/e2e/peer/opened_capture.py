"""Writes what is inside the packets of RFC 6618 section 6 of a capture as a capture of raw IP.

Written from the RFC alone, with Scapy; shares nothing with Hearth. `opened_capture.py CAPTURE OPENED`
reads JSON: {"suite": NAME, "port": PORT, "home_agent": IPV6, "up": {"ikey": HEX, "ekey": HEX}, "down":
{...}}, and ends with 1 at the first packet that does not open. An inner packet is written as it is.
PType 8 has no inner IP header (section 6.3): it gets the one that it would have without UDP, between
the home agent's address and the outer one, an IPv4 one of these as ::ffff:a.b.c.d.
"""

import json
import sys

from frames import open_frame
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.utils import PcapWriter, rdpcap

# LINKTYPE_RAW: an IP packet, its first four bits say which.
RAW = 101
# A NAT keepalive is one octet.
HEADER = 8


def mapped(outer):
    return outer if ":" in outer else f"::ffff:{outer}"


def signalling(up, captured, home_agent, next_header, octets):
    outer = captured[IPv6] if IPv6 in captured else captured[IP]
    header = IPv6(nh=next_header, plen=len(octets), hlim=64)
    header.src = mapped(outer.src) if up else home_agent
    header.dst = home_agent if up else mapped(outer.dst)
    return bytes(header) + octets


def inside(work, captured):
    """The packet in a captured one, or None."""
    udp = captured.getlayer(UDP)
    if udp is None or work["port"] not in (udp.sport, udp.dport):
        return None
    # As captured: a NAT's port may be one that Scapy knows another protocol for.
    up, frame = udp.dport == work["port"], udp.original[8 : udp.len]
    if len(frame) < HEADER:
        return None
    next_header, octets = open_frame(work["suite"], work["up" if up else "down"], frame)
    if frame[0] >> 4 == 1:
        assert next_header in (4, 41), "data is IPv4 or IPv6"
        return octets
    assert frame[0] >> 4 == 8 and next_header in (43, 60), "extension headers first"
    return signalling(up, captured, work["home_agent"], next_header, octets)


def main():
    work = json.load(sys.stdin)
    with PcapWriter(sys.argv[2], linktype=RAW) as opened:
        opened.write_header(None)
        for captured in rdpcap(sys.argv[1]):
            packet = inside(work, captured)
            if packet is not None:
                seconds, micros = divmod(int(captured.time * 1_000_000), 1_000_000)
                opened.write_packet(packet, sec=seconds, usec=micros)


main()
