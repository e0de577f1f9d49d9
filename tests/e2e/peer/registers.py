"""A mobile node that registers with what a HAC has handed out (RFC 6618 s.6.4, RFC 6275 s.11.7).

Written from the RFCs alone, with Scapy; shares nothing with Hearth. Reads a line of JSON for each
Binding Update, {"headers": {NAME: [VALUE, ...]}, "lifetime": SECONDS}, where `headers` are those of
MHAuth-Done's response; a lifetime of 0 de-registers. Prints a line of JSON for each: the status and
lifetime of a Binding Acknowledgement that is as the RFCs say. Ends with 1 at one that is not.
"""

import ipaddress
import json
import socket
import sys

from frames import open_frame, seal_frame
from scapy.layers.inet6 import (
    HAO,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrRouting,
    MIP6MH_BA,
    MIP6MH_BU,
)

SIGNALLING = 8  # PType
DESTINATION_OPTIONS, ROUTING, MOBILITY = 60, 43, 135
# RFC 6618 s.5.6.5; {00,9C} is RFC 5288's
SUITES = {
    "00,02": "NULL_SHA",
    "00,3B": "NULL_SHA256",
    "00,0A": "3DES_EDE_CBC_SHA",
    "00,2F": "AES_128_CBC_SHA",
    "00,3C": "AES_128_CBC_SHA256",
    "00,9C": "AES_128_GCM",
}
OUT_OF_WINDOW = 135  # RFC 6275 s.6.1.8
TRIES = 10


class Association:
    """An SA, by the headers that describe it."""

    # RFC 6275 s.11.7.1: of Binding Updates; it goes on from one SA to the next.
    number = 0

    def __init__(self, headers):
        single = {name: values[0] for name, values in headers.items()}
        self.spi = int(single["mip6-spi"])
        self.suite = SUITES[single["mip6-ciphersuite"].strip("{}").upper()]
        self.home_agent = str(ipaddress.IPv6Address(single["mip6-haa-ip6"]))
        self.home = str(ipaddress.IPv6Address(single["mip6-ip6-hoa"]))
        self.up, self.down = (
            {kind: single.get(f"mip6-{way}-{kind}", "") for kind in ("ikey", "ekey")}
            for way in ("mn-to-ha", "ha-to-mn")
        )
        self.sequence = 0
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.settimeout(1)
        self.socket.connect((self.home_agent, int(single.get("mip6-port", "7872"))))

    def update(self, lifetime):
        """A Binding Update with the Home Address option (R-29), its checksum from home (R-30)."""
        self.sequence += 1
        Association.number += 1
        message = MIP6MH_BU(seq=Association.number, flags="AH", mhtime=lifetime // 4)
        message = bytes((IPv6(src=self.home, dst=self.home_agent) / message)[MIP6MH_BU])
        option = bytes(IPv6ExtHdrDestOpt(nh=MOBILITY, options=[HAO(hoa=self.home)]))
        self.socket.send(seal_frame(self.suite, self.up, SIGNALLING, self.spi, self.sequence,
                                    DESTINATION_OPTIONS, option + message))

    def acknowledgement(self):
        """The next Binding Acknowledgement, behind a type 2 routing header, or None."""
        try:
            frame = self.socket.recv(2048)
        except TimeoutError:
            return None
        assert int.from_bytes(frame[:4], "big") == SIGNALLING << 28 | self.spi, "PType and SPI"
        next_header, payload = open_frame(self.suite, self.down, frame)
        assert next_header == ROUTING, "a routing header"
        routing = IPv6ExtHdrRouting(payload)
        assert (routing.type, routing.segleft, routing.addresses) == (2, 1, [self.home]), "to home"
        message = routing[MIP6MH_BA]
        sent, message.cksum = message.cksum, None
        counted = MIP6MH_BA(bytes((IPv6(src=self.home_agent, dst=self.home) / message)[MIP6MH_BA]))
        assert sent == counted.cksum, "checksum"
        return message

    def register(self, lifetime):
        """RFC 6275 s.11.8: again where no answer comes."""
        for _ in range(TRIES):
            self.update(lifetime)
            message = self.acknowledgement()
            if message is not None and message.status == OUT_OF_WINDOW:
                Association.number = message.seq  # RFC 6275 s.11.7.3
                continue
            if message is not None and message.seq == Association.number:
                return {"status": message.status, "lifetime": 4 * message.mhtime}
        raise SystemExit(f"{TRIES} Binding Updates, no acknowledgement")


def main():
    associations = {}
    for line in sys.stdin:
        work = json.loads(line)
        spi = work["headers"]["mip6-spi"][0]
        if spi not in associations:
            associations[spi] = Association(work["headers"])
        print(json.dumps(associations[spi].register(work["lifetime"])), flush=True)


main()
