"""Frames of RFC 6618 section 6: opened and sealed with the keys of an SA.

Written from the RFC (and from RFC 4106 for AES_128_GCM) alone, with `cryptography`; shares nothing
with Hearth. A direction's keys are {"ikey": HEX, "ekey": HEX}.
"""

import hmac
import os
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

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


def kind(suite):
    return suite.split("_")[0]


def icv(suite, ikey, covered):
    if suite.endswith("_SHA"):
        return hmac.digest(ikey, covered, "sha1")[:12]
    return xcbc(ikey, covered)


def cipher(suite, ekey, iv):
    algorithm = algorithms.TripleDES if kind(suite) == "3DES" else algorithms.AES
    return Cipher(algorithm(ekey), modes.CBC(iv))


def open_gcm(ekey, frame):
    """Key and salt, IV of epoch and sequence number; authenticated: PType, SPI, sequence number."""
    header, iv, sealed = frame[:8], frame[8:16], frame[16:]
    assert iv[4:] == header[4:], "the IV ends with the sequence number"
    return AESGCM(ekey[:16]).decrypt(ekey[16:] + iv, sealed, header)


def open_separate(suite, ikey, ekey, frame):
    """Integrity first, then decryption."""
    covered = frame[:-12]
    assert frame[-12:] == icv(suite, ikey, covered), "ICV"
    if kind(suite) == "NULL":
        return covered[8:]
    block = BLOCK[kind(suite)]
    decryptor = cipher(suite, ekey, covered[8 : 8 + block]).decryptor()
    return decryptor.update(covered[8 + block :]) + decryptor.finalize()


def octets(keys):
    return bytes.fromhex(keys["ikey"]), bytes.fromhex(keys["ekey"])


def open_frame(suite, keys, frame):
    """Integrity and decryption, then padding (RFC 6618 s.6, RFC 4303 s.2.4, RFC 4106 s.3.2)."""
    ikey, ekey = octets(keys)
    if suite == "AES_128_GCM":
        assert ikey == b"" and len(ekey) == 20, "key and salt"
        text, block = open_gcm(ekey, frame), 4
    else:
        text, block = open_separate(suite, ikey, ekey, frame), BLOCK[kind(suite)]
    assert len(text) % block == 0, "whole blocks"
    pad, next_header = text[-2], text[-1]
    assert text[-2 - pad : -2] == bytes(range(1, pad + 1)), "padding"
    return next_header, text[: -2 - pad]


def seal_frame(suite, keys, ptype, spi, sequence, next_header, payload):
    """The reverse: the least padding, encryption, integrity."""
    ikey, ekey = octets(keys)
    gcm = suite == "AES_128_GCM"
    block = 4 if gcm else BLOCK[kind(suite)]
    pad = -(len(payload) + 2) % block
    text = payload + bytes(range(1, pad + 1)) + bytes([pad, next_header])
    header = struct.pack("!II", ptype << 28 | spi, sequence)
    if gcm:
        iv = bytes(4) + header[4:]
        return header + iv + AESGCM(ekey[:16]).encrypt(ekey[16:] + iv, text, header)
    iv = b""
    if kind(suite) != "NULL":
        iv = os.urandom(block)
        encryptor = cipher(suite, ekey, iv).encryptor()
        text = encryptor.update(text) + encryptor.finalize()
    covered = header + iv + text
    return covered + icv(suite, ikey, covered)
