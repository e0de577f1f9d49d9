#!/usr/bin/env python3
"""A mobile node that authenticates with EAP (RFC 6618 s.5.9), its EAP by others: `eapol_test`.

eapol_test is wpa_supplicant's EAP peer and talks RADIUS. This program is the RADIUS server that it
talks to (RFC 2865, RFC 3579), and carries the EAP packets to a HAC in MHAuth messages, or to another
RADIUS server, which shows that the RADIUS here is right. MHAuth-Done is keyed with the MSK that
eapol_test derived, taken from what it prints: an `auth` that verifies proves both ends have the same.

  eap_peer.py hac HOST PORT CA-FILE TLS-NAME MN-ID NETWORK-FILE [--suites 00,2F ...] [--sas 0|1]
              [--last-in-done] [--second-half-from FILE] [--patience SECONDS]
  eap_peer.py radius HOST PORT SECRET NETWORK-FILE

NETWORK-FILE is wpa_supplicant's `network={...}`. Prints the result as JSON.
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
import subprocess
import sys
import threading

from peer import CRLF, auth, check_success, connect, exchange, signed

REQUEST, RESPONSE, SUCCESS, FAILURE = 1, 2, 3, 4
GPSK, TLS = 51, 13
ACCESS_REQUEST, ACCESS_ACCEPT, ACCESS_REJECT, ACCESS_CHALLENGE = 1, 2, 3, 11
USER_NAME, STATE, EAP_MESSAGE, MESSAGE_AUTHENTICATOR, VENDOR = 1, 24, 79, 80, 26
MICROSOFT, SEND_KEY, RECV_KEY = 311, 16, 17
SECRET = b"between eapol_test and this program"


class Refused(Exception):
    """The HAC ended the exchange: its headers."""


# RADIUS


def attributes(packet):
    """RFC 2865 s.5: (type, value) of each attribute."""
    (length,) = struct.unpack("!H", packet[2:4])
    at, found = 20, []
    while at < length:
        size = packet[at + 1]
        assert size >= 2 and at + size <= length, "attribute length"
        found.append((packet[at], packet[at + 2:at + size]))
        at += size
    return found


def joined(found, kind):
    return b"".join(value for this, value in found if this == kind)


def message_authenticator(packet, secret, authenticator):
    """RFC 3579 s.3.2: HMAC-MD5 with the request's authenticator in place and the value zeroed."""
    at = 20
    while packet[at] != MESSAGE_AUTHENTICATOR:
        at += packet[at + 1]
    plain = packet[:4] + authenticator + packet[20:at + 2] + bytes(16) + packet[at + 18:]
    return at + 2, packet[at + 2:at + 18], hmac.new(secret, plain, hashlib.md5).digest()


def radius(code, identifier, authenticator, found, secret, request_authenticator=None):
    """A packet with its Message-Authenticator, and the Response Authenticator if it is one."""
    body = b"".join(struct.pack("!BB", kind, len(value) + 2) + value
                    for kind, value in [(MESSAGE_AUTHENTICATOR, bytes(16))] + found)
    packet = struct.pack("!BBH", code, identifier, 20 + len(body)) + authenticator + body
    at, _, right = message_authenticator(packet, secret, authenticator)
    packet = packet[:at] + right + packet[at + 16:]
    if request_authenticator is not None:
        digest = hashlib.md5(packet[:4] + request_authenticator + packet[20:] + secret).digest()
        packet = packet[:4] + digest + packet[20:]
    return packet


def eap_attributes(eap):
    """RFC 3579 s.3.1: split over as many attributes as it takes."""
    return [(EAP_MESSAGE, eap[at:at + 253]) for at in range(0, len(eap), 253)]


def keystream(secret, authenticator, salt):
    """RFC 2548 s.2.4.2: b(1) = MD5(secret | authenticator | salt), b(i) = MD5(secret | c(i-1))."""
    block = hashlib.md5(secret + authenticator + salt).digest()
    while True:
        chained = yield block
        block = hashlib.md5(secret + chained).digest()


def mppe(vendor_type, key, secret, authenticator):
    salt = struct.pack("!H", 0x8000 | vendor_type)
    plain = bytes([len(key)]) + key
    plain += bytes(-len(plain) % 16)
    stream, out = keystream(secret, authenticator, salt), b""
    block = next(stream)
    for at in range(0, len(plain), 16):
        cipher = bytes(a ^ b for a, b in zip(plain[at:at + 16], block))
        out += cipher
        block = stream.send(cipher)
    value = struct.pack("!IBB", MICROSOFT, vendor_type, len(salt + out) + 2) + salt + out
    return (VENDOR, value)


def mppe_key(found, vendor_type, secret, authenticator):
    for kind, value in found:
        if kind != VENDOR or struct.unpack("!IB", value[:5]) != (MICROSOFT, vendor_type):
            continue
        salt, cipher, plain = value[6:8], value[8:], b""
        stream = keystream(secret, authenticator, salt)
        block = next(stream)
        for at in range(0, len(cipher), 16):
            plain += bytes(a ^ b for a, b in zip(cipher[at:at + 16], block))
            block = stream.send(cipher[at:at + 16])
        return plain[1:1 + plain[0]]
    return b""


# The authenticators that eapol_test can be connected with


class Radius:
    """Another RADIUS server."""

    def __init__(self, args):
        self.secret, self.state, self.identifier = args.secret.encode(), [], 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(10)
        self.socket.connect((args.host, args.port))
        self.msk = b""
        self.name = b""

    def begin(self, response):
        self.name = response[5:]
        return self.next(response)

    def next(self, response):
        authenticator = os.urandom(16)
        found = [(USER_NAME, self.name)] + self.state + eap_attributes(response)
        self.identifier = (self.identifier + 1) % 256
        self.socket.send(radius(ACCESS_REQUEST, self.identifier, authenticator, found, self.secret))
        packet = self.socket.recv(65536)
        at, sent, right = message_authenticator(packet, self.secret, authenticator)
        assert sent == right, "Message-Authenticator of the server"
        found = attributes(packet)
        self.state = [(STATE, joined(found, STATE))]
        if packet[0] == ACCESS_ACCEPT:
            self.msk = b"".join(mppe_key(found, kind, self.secret, authenticator)
                                for kind in (RECV_KEY, SEND_KEY))
        return joined(found, EAP_MESSAGE)


class Hac:
    """A HAC: Init, Mid, Mid, ..., Done."""

    SHARED = b"1"  # s.5.9, R-10: the key of all but MHAuth-Done

    def __init__(self, args, peer):
        self.args, self.peer, self.identifier = args, peer, 0
        self.headers, self.ended, self.last_key = {}, False, None
        context = ssl.create_default_context(cafile=args.ca)
        self.stream = connect(args, context)
        certificate = self.stream.getpeercert(binary_form=True)
        self.binding = hashlib.sha256(certificate).digest()

    def send(self, content, keys):
        """One exchange; the response's auth must be by one of `keys`."""
        self.identifier += 1
        content = exchange(self.stream, self.identifier, content)
        assert content.endswith(CRLF * 3), "end-of-message"
        headers = {}
        for line in content.decode().split("\r\n"):
            if line:
                name, value = line.split(":", 1)
                headers.setdefault(name, []).append(value)
        self.headers = headers
        if "auth" not in headers:
            # only what can't be keyed is not.
            assert list(headers) == ["status-code"], "an unkeyed refusal is the status-code alone"
            self.end()
            raise Refused
        start = content.rindex(b"auth:")
        sent = content[start + 5:-6].lower()
        matching = [name for name, key in keys.items()
                    if hmac.compare_digest(sent, auth(key, b"HAC", content[:start], self.binding))]
        assert matching, f"auth of {headers} by one of {list(keys)}"
        self.last_key = matching[0]
        if "status-code" in headers:
            self.end()
            raise Refused
        return headers

    def end(self):
        self.ended = True
        assert self.stream.recv(1) == b"", "closed after the status-code"

    def eap(self, headers):
        return bytes.fromhex(headers["eap-payload"][0])

    def begin(self, response):
        mn_rand = os.urandom(32).hex().encode()
        init = CRLF.join([b"mn-id:" + self.args.mn_id.encode(), b"mn-rand:" + mn_rand,
                          b"auth-method:eap"])
        headers = self.send(init + CRLF * 3, {"1": self.SHARED})
        assert headers["auth-method"] == ["eap"], "exactly one method"
        request = self.eap(headers)
        assert request[0] == REQUEST and request[4] == 1, "EAP-Request/Identity"
        # eapol_test made up a request of its own; the answer is to the HAC's.
        return self.next(response[:1] + request[1:2] + response[2:])

    def next(self, response):
        if self.args.last_in_done and self.is_last(response):
            try:
                self.done(response)
            except Refused:
                pass
            return bytes.fromhex(self.headers.get("eap-payload", ["04"])[0])
        line = b"eap-payload:" + response.hex().encode()
        return self.eap(self.send(signed(self.SHARED, [line], self.binding), {"1": self.SHARED}))

    def is_last(self, response):
        if response[4] == GPSK:
            return response[5] == 4  # GPSK-4
        return response[4] == TLS and response[5:] == b"\x00" and self.peer.msk() is not None

    def done(self, response):
        """Ends in Refused, which a 200 is as well: the headers tell."""
        msk = self.peer.msk(wait=True)
        suites = ",".join("{" + suite + "}" for suite in self.args.suites).encode()
        lines = [b"mip6-sas:" + self.args.sas.encode(), b"mip6-suitelist:" + suites]
        if response is not None:
            lines.append(b"eap-payload:" + response.hex().encode())
        self.send(signed(msk, lines, self.binding), {"msk": msk, "1": self.SHARED})


# eapol_test


class Peer:
    """eapol_test, and what it prints."""

    # "EAP-GPSK: MSK", "EAP-TLS: Derived key", "EAP-PEAP: Derived key", "EAP-AKA': MSK", ...
    MSK = re.compile(r"^EAP-\S+ (?:MSK|Derived key)[^:]* - hexdump\(len=64\): ([0-9a-f ]+)$")
    PMK = re.compile(r"^PMK from EAPOL - hexdump\(len=32\): ([0-9a-f ]+)$")

    def __init__(self, port, network, second_half, patience):
        self.lines, self.changed, self.second_half = [], threading.Condition(), second_half
        command = ["stdbuf", "-oL", "eapol_test", "-c", network, "-a", "127.0.0.1", "-p", str(port),
                   "-s", SECRET.decode(), "-A", "127.0.0.1", "-t", patience]
        with open(network) as text:
            if "ctrl_interface=" in text.read():
                command.append("-W")  # waits for who is at its control interface
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL, text=True, errors="replace")
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()

    def found(self, pattern):
        matches = [match for match in map(pattern.match, self.lines) if match]
        return bytes.fromhex(matches[-1].group(1)) if matches else None

    def msk(self, wait=False):
        """What eapol_test derived. It does not print that of EAP-pwd whole: there the second half
        is the server's word for it, and only a first half that is eapol_test's own counts."""
        pattern = self.PMK if self.second_half else self.MSK
        with self.changed:
            if wait:
                self.changed.wait_for(lambda: self.found(pattern), timeout=10)
            msk = self.found(pattern)
        if msk is None and wait:
            raise SystemExit("eapol_test derived no MSK:\n" + "\n".join(self.lines[-40:]))
        if self.second_half and msk:
            with open(self.second_half, errors="replace") as log:
                sent = re.findall(r"MS-MPPE-Send-Key = 0x([0-9a-f]{64})", log.read())
            msk += bytes.fromhex(sent[-1])
        return msk


def serve(stream, peer, authenticator):
    """Answers eapol_test's Access-Requests until it ends; the EAP packet that was the last."""
    answered, started, state = {}, False, os.urandom(8)
    stream.settimeout(0.1)
    last = b""
    while True:
        try:
            packet, source = stream.recvfrom(65536)
        except TimeoutError:
            if peer.process.poll() is not None:
                return last
            continue
        identity = packet[1:2] + packet[4:20]
        if identity not in answered:
            request_authenticator = packet[4:20]
            at, sent, right = message_authenticator(packet, SECRET, request_authenticator)
            assert sent == right, "Message-Authenticator of eapol_test"
            response = joined(attributes(packet), EAP_MESSAGE)
            assert response[0] == RESPONSE
            try:
                last = authenticator.next(response) if started else authenticator.begin(response)
            except Refused:
                last = bytes([FAILURE, response[1], 0, 4])
            started = True
            answered[identity] = answer(packet[1], request_authenticator, last, state, peer)
        stream.sendto(answered[identity], source)


def answer(identifier, request_authenticator, eap, state, peer):
    found, code = eap_attributes(eap), ACCESS_CHALLENGE
    if eap[0] == SUCCESS:
        code, msk = ACCESS_ACCEPT, peer.msk()
        if msk:
            found += [mppe(RECV_KEY, msk[:32], SECRET, request_authenticator),
                      mppe(SEND_KEY, msk[32:], SECRET, request_authenticator)]
    elif eap[0] == FAILURE:
        code = ACCESS_REJECT
    else:
        found.append((STATE, state))
    return radius(code, identifier, request_authenticator, found, SECRET, request_authenticator)


def main():
    parser = argparse.ArgumentParser()
    modes = parser.add_subparsers(dest="mode", required=True)
    hac = modes.add_parser("hac")
    for name in ("host", "port", "ca", "name", "mn_id", "network"):
        hac.add_argument(name, type=int if name == "port" else str)
    hac.add_argument("--suites", nargs="+", default=["00,2F", "00,3C"])
    hac.add_argument("--sas", default="1")
    hac.add_argument("--last-in-done", action="store_true")
    relay = modes.add_parser("radius")
    for name in ("host", "port", "secret", "network"):
        relay.add_argument(name, type=int if name == "port" else str)
    for mode in (hac, relay):
        mode.add_argument("--second-half-from", metavar="FILE")
        mode.add_argument("--log", metavar="FILE")
        mode.add_argument("--patience", metavar="SECONDS", default="20")
    args = parser.parse_args()

    stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stream.bind(("127.0.0.1", 0))
    peer = Peer(stream.getsockname()[1], args.network, args.second_half_from, args.patience)
    try:
        authenticator = Hac(args, peer) if args.mode == "hac" else Radius(args)
        last = serve(stream, peer, authenticator)
        peer.reader.join()
        succeeded = any("CTRL-EVENT-EAP-SUCCESS" in line for line in peer.lines)
        result = {"eap": {SUCCESS: "success", FAILURE: "failure"}.get(last[0] if last else 0),
                  "peer": succeeded,
                  "methods": re.findall(r"EAP: Status notification: accept proposed method "
                                        r"\(param=([^)]*)\)", "\n".join(peer.lines))}
        versions = re.findall(r"SSL: Using TLS version (\S+)", "\n".join(peer.lines))
        result["tls"] = versions[-1] if versions else None
        ok = last[:1] == bytes([SUCCESS])
        if args.mode == "radius":
            result["same_msk"] = ok and peer.msk(wait=True) == authenticator.msk
            ok = result["same_msk"]
        else:
            if ok and not authenticator.ended:
                # EAP-Success came in Response/Mid; this Done carries no eap-payload.
                try:
                    authenticator.done(None)
                except Refused:
                    pass
            result |= {"headers": authenticator.headers, "keyed_with": authenticator.last_key}
            ok = authenticator.headers.get("status-code") == ["200"]
            if ok:
                assert authenticator.last_key == "msk", "Response/Done is keyed with the MSK"
                check_success(args, authenticator.headers)
    finally:
        if peer.process.poll() is None:
            peer.process.kill()
        if args.log:
            with open(args.log, "w") as log:
                log.write("\n".join(peer.lines))
    json.dump(result, sys.stdout)
    return 0 if ok else 3


if __name__ == "__main__":
    sys.exit(main())
