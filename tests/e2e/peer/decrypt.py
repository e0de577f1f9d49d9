"""Opens captured packets of RFC 6618 section 6 with the keys of their SA.

Written from the RFC (and from RFC 4106 for AES_128_GCM) alone, with `cryptography` and Scapy; shares nothing with Hearth. Reads JSON:
{"suite": NAME, "up": {"ikey": HEX, "ekey": HEX}, "down": {...}, "frames": [{"up": BOOL, "hex": HEX}]}
and prints a line per packet: up|down, PType, sequence number, what is inside; with --inside only of
PType 8: up|down, next header, the octets inside. Ends with 1 at the first packet that is not as the
RFC says.
"""

import hmac
import json
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting

BLOCK = {"NULL": 4, "3DES": 8, "AES": 16}


def aes(key, block):
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update(block) + encryptor.finalize()


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def xcbc(key, message):
    """AES-XCBC-MAC-96, RFC 3566 section 4."""
    k1, k2, k3 = (aes(key, bytes([i]) * 16) for i in (1, 2, 3))
    blocks = [message[i : i + 16] for i in range(0, len(message), 16)]
    last = blocks.pop()
    e = bytes(16)
    for block in blocks:
        e = aes(k1, xor(e, block))
    if len(last) == 16:
        e = aes(k1, xor(xor(last, e), k2))
    else:
        last = (last + b"\x80").ljust(16, b"\0")
        e = aes(k1, xor(xor(last, e), k3))
    return e[:12]


def open_gcm(ekey, frame):
    """Key and salt, IV of epoch and sequence number; authenticated: PType, SPI, sequence number."""
    header, iv, sealed = frame[:8], frame[8:16], frame[16:]
    assert iv[4:] == header[4:], "the IV ends with the sequence number"
    return AESGCM(ekey[:16]).decrypt(ekey[16:] + iv, sealed, header)


def open_separate(suite, ikey, ekey, frame):
    """Integrity first, then decryption."""
    covered, icv = frame[:-12], frame[-12:]
    sha1 = suite.endswith("_SHA")
    assert icv == (hmac.digest(ikey, covered, "sha1")[:12] if sha1 else xcbc(ikey, covered)), "ICV"
    kind = suite.split("_")[0]
    if kind == "NULL":
        text = covered[8:]
    else:
        algorithm = algorithms.TripleDES if kind == "3DES" else algorithms.AES
        iv, text = covered[8 : 8 + BLOCK[kind]], covered[8 + BLOCK[kind] :]
        decryptor = Cipher(algorithm(ekey), modes.CBC(iv)).decryptor()
        text = decryptor.update(text) + decryptor.finalize()
    return text


def open_frame(suite, keys, frame):
    """Integrity and decryption, then padding (RFC 6618 s.6, RFC 4303 s.2.4, RFC 4106 s.3.2)."""
    ikey, ekey = bytes.fromhex(keys["ikey"]), bytes.fromhex(keys["ekey"])
    if suite == "AES_128_GCM":
        assert ikey == b"" and len(ekey) == 20, "key and salt"
        text, block = open_gcm(ekey, frame), 4
    else:
        text, block = open_separate(suite, ikey, ekey, frame), BLOCK[suite.split("_")[0]]
    assert len(text) % block == 0, "whole blocks"
    pad, next_header = text[-2], text[-1]
    assert text[-2 - pad : -2] == bytes(range(1, pad + 1)), "padding"
    return next_header, text[: -2 - pad]


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
