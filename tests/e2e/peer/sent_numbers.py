"""Sequence numbers of a home agent (RFC 6618 section 6), as a capture shows them.

Written from the RFC alone, with Scapy; shares nothing with Hearth. `sent_numbers.py CAPTURE PORT` prints
JSON: packets that came from PORT under an SA, pairs of SPI and number in more than one of them, and
packets whose number is below an earlier one of the same SA.
"""

import json
import sys

from scapy.layers.inet import UDP
from scapy.layers.l2 import Ether
from scapy.utils import RawPcapNgReader

ETHER_IPV6 = b"\x86\xdd"


def payloads(path, port):
    """Payloads of UDP packets from the port; IPv6 without extension headers is sliced, the rest
    goes through Scapy's layers."""
    for frame, _ in RawPcapNgReader(path):
        if frame[12:14] == ETHER_IPV6 and frame[20] == 17:
            if frame[54:56] == port.to_bytes(2, "big"):
                yield frame[62:]
            continue
        udp = Ether(frame).getlayer(UDP)
        if udp is not None and udp.sport == port:
            yield bytes(udp.payload)


def main():
    path, port = sys.argv[1], int(sys.argv[2])
    packets, seen, twice, back, top = 0, set(), 0, 0, {}
    for payload in payloads(path, port):
        spi = int.from_bytes(payload[:4], "big") & 0x0FFFFFFF
        sequence = int.from_bytes(payload[4:8], "big")
        if spi == 0:
            continue
        packets += 1
        twice += (spi, sequence) in seen
        seen.add((spi, sequence))
        back += sequence < top.get(spi, 0)
        top[spi] = max(sequence, top.get(spi, 0))
    print(json.dumps({"packets": packets, "used_twice": twice, "came_back": back}))


main()
