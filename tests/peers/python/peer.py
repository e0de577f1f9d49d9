#!/usr/bin/env python3
"""A mobile node's side of RFC 6618 s.5.8, written from the RFC alone: Python's ssl, hmac, hashlib.

Bootstraps once, checks everything that the HAC must send, and prints the result as JSON.

  peer.py HOST PORT CA-FILE TLS-NAME MN-ID PSK-HEX [--tls 1.2|1.3] [--suites 00,2F ...] [--sas 0|1]
          [--hash sha256|sha384|...] [--resume] [--wrong-binding]
"""

import argparse
import hashlib
import hmac
import json
import os
import re
import socket
import ssl
import struct
import sys

CRLF = b"\r\n"
IP6 = re.compile(r"^([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}$")  # 7( word ":" ) word
IP4 = re.compile(r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$")
DATE = re.compile(
    r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
    r"[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$"
)
# s.5.6.5 and s.5.6.2: integrity and encryption key octets; {00,9C} has key and salt (RFC 4106).
SUITES = {"00,02": (20, 0), "00,3B": (16, 0), "00,0A": (20, 24), "00,2F": (20, 16), "00,3C": (16, 16),
          "00,9C": (0, 20)}


def exactly(stream, count):
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            raise SystemExit(f"closed after {len(data)} of {count} octets")
        data += more
    return data


def exchange(stream, identifier, content):
    """s.5.1: Ver 3 bits, Rsrvd 5 bits, Identifier, Length; then the Content portion."""
    stream.sendall(struct.pack("!BBH", 0, identifier, len(content)) + content)
    first, echoed, length = struct.unpack("!BBH", exactly(stream, 4))
    assert first == 0, "Ver and Rsrvd are sent as 0"
    assert echoed == identifier, "the Identifier is copied"
    return exactly(stream, length)


def auth(key, label, octets, binding):
    """s.5.8: HMAC-SHA256(PSK, label | msg-octets | CB-octets)."""
    return hmac.new(key, label + octets + binding, hashlib.sha256).hexdigest().encode()


def signed(key, lines, binding):
    octets = b"".join(line + CRLF for line in lines)
    return octets + b"auth:" + auth(key, b"MN", octets, binding) + CRLF + CRLF + CRLF


def read(key, content, binding):
    """Headers of a response whose auth, the last one, is right; `dns-*` may repeat."""
    assert content.endswith(CRLF * 3), "end-of-message is 2CRLF behind the last header's CRLF"
    start = content.rindex(b"auth:")
    line = content[start:-6]
    assert CRLF not in line, "auth is the last header"
    assert hmac.compare_digest(line[5:].lower(), auth(key, b"HAC", content[:start], binding)), "auth"
    headers = {}
    for raw in content[:start].split(CRLF)[:-1]:
        name, value = raw.decode().split(":", 1)
        headers.setdefault(name, []).append(value)
    return headers


def connect(args, context, session=None):
    stream = socket.create_connection((args.host, args.port), timeout=10)
    return context.wrap_socket(stream, server_hostname=args.name, session=session)


def bootstrap(args, stream):
    key = bytes.fromhex(args.psk)
    # RFC 5929 s.4.1: the hash of the certificate as it stands in the Certificate message.
    certificate = stream.getpeercert(binary_form=True)
    if args.wrong_binding:
        certificate += b"x"
    binding = hashlib.new(args.hash, certificate).digest()

    mn_rand = os.urandom(32).hex().encode()
    init = CRLF.join([b"mn-id:" + args.mn_id.encode(), b"mn-rand:" + mn_rand, b"auth-method:psk"])
    headers = read(key, exchange(stream, 1, init + CRLF * 3), binding) if not args.wrong_binding \
        else unchecked(exchange(stream, 1, init + CRLF * 3))
    assert headers["auth-method"] == ["psk"], "exactly one method"
    assert headers["mn-rand"] == [mn_rand.decode()], "mn-rand is repeated"
    assert "status-code" not in headers, "status-code only at the end"
    hac_rand = headers["hac-rand"][0].encode()
    assert re.fullmatch(rb"[0-9a-f]{64}", hac_rand)

    suites = ",".join("{" + suite + "}" for suite in args.suites).encode()
    lines = [
        b"mn-rand:" + mn_rand,
        b"hac-rand:" + hac_rand,
        b"mip6-sas:" + args.sas.encode(),
        b"mip6-suitelist:" + suites,
    ]
    content = exchange(stream, 2, signed(key, lines, binding))
    headers = unchecked(content) if args.wrong_binding else read(key, content, binding)
    assert headers["mn-rand"] == [mn_rand.decode()] and headers["hac-rand"] == [hac_rand.decode()]
    # s.5.3: the HAC closes; close_notify reads as an orderly end, a bare FIN raises.
    assert stream.recv(1) == b"", "closed after MHAuth-Done"
    return headers


def unchecked(content):
    return dict((name, [value]) for name, value in
                (line.split(":", 1) for line in content.decode().split("\r\n") if line))


def check_success(args, headers):
    single = {name: values[0] for name, values in headers.items() if not name.startswith("dns-")}
    for name, values in headers.items():
        assert len(values) == 1 or name.startswith("dns-"), f"{name} stands twice"
    suite = single["mip6-ciphersuite"].strip("{}").upper()
    assert suite in [offered.upper() for offered in args.suites], "a suite of the list"
    keys = []
    for direction in ("mn-to-ha", "ha-to-mn"):
        for kind, octets in zip(("ikey", "ekey"), SUITES[suite]):
            name = f"mip6-{direction}-{kind}"
            if octets:
                keys.append(bytes.fromhex(single[name]))
                assert len(keys[-1]) == octets
            else:
                assert name not in single
    assert len(set(keys)) == len(keys), "all keys differ"
    assert 1 <= int(single["mip6-spi"]) <= 268435455
    assert single["mip6-sas"] in "01"
    assert DATE.match(single["mip6-sa-validity-end"])
    assert 1 <= int(single.get("mip6-port", "7872")) <= 65535
    for name in ("mip6-haa-ip6", "mip6-ip6-hoa"):
        assert IP6.match(single[name]), name
    for name in ("mip6-haa-ip4", "mip6-ip4-hoa"):
        assert name not in single or IP4.match(single[name]), name
    prefix, length = single["mip6-ip6-hnp"].split("/")
    assert IP6.match(prefix) and 0 < int(length) <= 128
    for address in headers.get("dns-ip6", []):
        assert IP6.match(address)


def main():
    parser = argparse.ArgumentParser()
    for name in ("host", "port", "ca", "name", "mn_id", "psk"):
        parser.add_argument(name, type=int if name == "port" else str)
    parser.add_argument("--tls", choices=("1.2", "1.3"))
    parser.add_argument("--suites", nargs="+", default=["00,2F", "00,3C"])
    parser.add_argument("--sas", default="1")
    parser.add_argument("--hash", default="sha256")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--wrong-binding", action="store_true")
    args = parser.parse_args()

    context = ssl.create_default_context(cafile=args.ca)
    if args.tls:
        version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[args.tls]
        context.minimum_version = context.maximum_version = version
    with connect(args, context) as stream:
        headers = bootstrap(args, stream)
        session, version = stream.session, stream.version()
    resumed = False
    if args.resume:
        with connect(args, context, session) as stream:
            resumed = stream.session_reused
            headers = bootstrap(args, stream)
    if headers["status-code"] == ["200"]:
        check_success(args, headers)
    result = {"tls": version, "resumed": resumed, "headers": headers}
    json.dump(result, sys.stdout, indent=1)
    return 0 if headers["status-code"] == ["200"] else 3


if __name__ == "__main__":
    sys.exit(main())
