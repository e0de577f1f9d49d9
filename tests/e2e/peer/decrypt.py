"""Opens captured packets of RFC 6618 section 6 with the keys of their SA.

Written from the RFC alone, with Scapy; shares nothing with Hearth. Reads JSON:
{"suite": NAME, "up": {"ikey": HEX, "ekey": HEX}, "down": {...}, "frames": [{"up": BOOL, "hex": HEX}]}
and prints a line per packet: up|down, PType, sequence number, what is inside; with --inside only of
PType 8: up|down, next header, the octets inside. Ends with 1 at the first packet that is not as the
RFC says.
"""

import json
import sys

from frames import open_frame
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting


def inside(ptype, next_header, payload):
    if ptype == 1:
        assert next_header in (4, 41), "data is IPv4 or IPv6"
        packet = (IP if next_header == 4 else IPv6)(payload)
        assert bytes(packet) == payload, "the whole payload is one packet"
        return f"{packet.src} > {packet.dst} {' / '.join(layer.__name__ for layer in packet.layers())}"
    assert ptype == 8 and next_header in (60, 43), "extension header first"
    packet = (IPv6ExtHdrDestOpt if next_header == 60 else IPv6ExtHdrRouting)(payload)
    home = packet.options[-1].hoa if next_header == 60 else packet.addresses[0]
    return f"{home} {' / '.join(layer.__name__ for layer in packet.layers())}"


def main():
    work = json.load(sys.stdin)
    seen = set()
    for entry in work["frames"]:
        frame = bytes.fromhex(entry["hex"])
        way = "up" if entry["up"] else "down"
        ptype, sequence = frame[0] >> 4, int.from_bytes(frame[4:8], "big")
        assert (way, sequence) not in seen, "a sequence number twice"
        seen.add((way, sequence))
        next_header, payload = open_frame(work["suite"], work[way], frame)
        if "--inside" not in sys.argv:
            print(way, ptype, sequence, inside(ptype, next_header, payload))
        elif ptype == 8:
            print(way, next_header, payload.hex())


main()
