"""AES-GCM packets by Scapy's IPsec (RFC 4303, RFC 4106), which knows nothing of Hearth.

To ESP the word PType|SPI of RFC 6618 section 6.1 is an SPI like any other. Reads JSON:
[{"ekey": HEX, "spi": WORD, "seq": NUMBER, "iv": HEX, "inner": HEX}, or {"ekey": HEX, "frame": HEX}]
and prints a line in hexadecimal for each: the frame around that inner packet, or the inner packet
of that frame.
"""

import json
import sys

from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation

OUTER = IPv6(src="2001:db8::1", dst="2001:db8::2")


def association(ekey, spi):
    return SecurityAssociation(
        ESP, spi=spi, crypt_algo="AES-GCM", crypt_key=bytes.fromhex(ekey), tunnel_header=OUTER
    )


def seal(case):
    inner = IPv6(bytes.fromhex(case["inner"]))
    sa = association(case["ekey"], case["spi"])
    # Not an argument of encrypt: there 0 means "the next one".
    sa.seq_num = case["seq"]
    packet = sa.encrypt(inner, iv=bytes.fromhex(case["iv"]))
    return bytes(packet[ESP])


def open_frame(case):
    frame = ESP(bytes.fromhex(case["frame"]))
    packet = IPv6(bytes(OUTER / frame))
    return bytes(association(case["ekey"], frame.spi).decrypt(packet))


for case in json.load(sys.stdin):
    print((open_frame(case) if "frame" in case else seal(case)).hex())
