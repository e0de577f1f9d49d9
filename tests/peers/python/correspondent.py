"""A correspondent in Scapy: return routability, Binding Updates, a binding cache of one entry, and an
echo of UDP (RFC 6275 s.9).

usage: correspondent.py INTERFACE ADDRESS ROUTER_MAC PCAP [refuse | silent | unknown]

Prints a line for all that it hears. With `refuse` it answers Binding Updates with status 129, with
`silent` it ignores Mobility Headers, with `unknown` it does not know them. A line on standard input
makes it forget the binding.
"""

import hashlib
import hmac
import select
import socket
import sys

from scapy.all import PcapWriter, conf
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    HAO,
    ICMPv6ParamProblem,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrRouting,
    MIP6MH_BA,
    MIP6MH_BE,
    MIP6MH_BU,
    MIP6MH_CoT,
    MIP6MH_CoTI,
    MIP6MH_HoT,
    MIP6MH_HoTI,
    MIP6OptBindingAuthData,
    MIP6OptNonceIndices,
)
from scapy.layers.l2 import Ether
from scapy.packet import raw
from scapy.utils import checksum

KCN = b"a key of 20 octets.."
HOME_INDEX, CARE_OF_INDEX = 257, 258
MAC_LEN = 12


def octets(address):
    return socket.inet_pton(socket.AF_INET6, address)


def token(address, index, last):
    """Section 5.2.5, with the index in the place of the nonce."""
    data = octets(address) + index.to_bytes(8, "big") + bytes([last])
    return hmac.new(KCN, data, hashlib.sha1).digest()[:8]


def valid(source, destination, datagram):
    pseudo = octets(source) + octets(destination) + len(datagram).to_bytes(4, "big")
    return checksum(pseudo + bytes([0, 0, 0, 17]) + datagram) == 0


def say(*words):
    print(*words, flush=True)


class Correspondent:
    def __init__(self, interface, address, router, pcap, mode):
        self.address, self.router, self.mode = address, router, mode
        self.link = conf.L2socket(iface=interface)
        self.capture = PcapWriter(pcap, sync=True)
        self.binding = {}
        self.sequence = None

    def send(self, packet):
        frame = Ether(raw(Ether(dst=self.router) / packet))
        self.capture.write(frame)
        self.link.send(frame)

    def to(self, home, direct=None):
        """What stands in front of a packet to the mobile node."""
        if direct is None:
            return IPv6(src=self.address, dst=home)
        routing = IPv6ExtHdrRouting(type=2, segleft=1, addresses=[home])
        return IPv6(src=self.address, dst=direct) / routing

    def authenticator(self, home, care_of, data):
        """Section 6.2.7."""
        tokens = token(home, HOME_INDEX, 0)
        if care_of != home:
            tokens += token(care_of, CARE_OF_INDEX, 1)
        kbm = hashlib.sha1(tokens).digest()
        covered = octets(care_of) + octets(self.address) + data
        return hmac.new(kbm, covered, hashlib.sha1).digest()[:MAC_LEN]

    def update(self, packet, home, header):
        """Section 9.5.1."""
        update, care_of = packet[MIP6MH_BU], packet[IPv6].src
        data, mac = header[:4] + bytes(2) + header[6:-MAC_LEN], header[-MAC_LEN:]
        [indices] = [it for it in update.options if isinstance(it, MIP6OptNonceIndices)]
        expected = (HOME_INDEX, CARE_OF_INDEX if care_of != home else 0)
        if (indices.hni, indices.coni) != expected:
            return say("bad-indices", indices.hni, indices.coni)
        if mac != self.authenticator(home, care_of, data):
            return say("bad-authenticator")
        behind = (update.seq - self.sequence) % 65536 if self.sequence is not None else 1
        if not 0 < behind < 32768:
            return say("bad-sequence", update.seq)
        self.sequence = update.seq
        refused = self.mode == "refuse" and update.mhtime > 0
        if refused or update.mhtime == 0:
            self.binding.pop(home, None)
        else:
            self.binding[home] = care_of
        say("update", care_of, update.mhtime * 4)
        fields = {"status": 129 if refused else 0, "seq": update.seq}
        fields["mhtime"] = 0 if refused else update.mhtime
        bare = self.ack(fields, 0, cksum=0)
        made = self.authenticator(home, care_of, raw(bare)[:-MAC_LEN])
        front = self.to(home, care_of if care_of != home else None)
        self.send(front / self.ack(fields, int.from_bytes(made, "big")))

    @staticmethod
    def ack(fields, authenticator, **more):
        option = MIP6OptBindingAuthData(olen=MAC_LEN, authenticator=authenticator)
        return MIP6MH_BA(options=[option], **fields, **more)

    def mobility(self, packet, home, header):
        source = packet[IPv6].src
        if self.mode == "silent":
            return None
        if self.mode == "unknown":
            quoted = raw(packet[IPv6])
            return self.send(IPv6(src=self.address, dst=source) / ICMPv6ParamProblem(code=1, ptr=6) / quoted)
        front = self.to(source)
        if MIP6MH_HoTI in packet:
            say("home-test-init", source)
            cookie = packet[MIP6MH_HoTI].cookie
            made = token(source, HOME_INDEX, 0)
            return self.send(front / MIP6MH_HoT(index=HOME_INDEX, cookie=cookie, token=made))
        if MIP6MH_CoTI in packet:
            say("care-of-test-init", source)
            cookie = packet[MIP6MH_CoTI].cookie
            made = token(source, CARE_OF_INDEX, 1)
            return self.send(front / MIP6MH_CoT(index=CARE_OF_INDEX, cookie=cookie, token=made))
        return self.update(packet, home, header) if MIP6MH_BU in packet else None

    def data(self, packet, home, option):
        """Section 9.3.1, and the echo."""
        source, udp = packet[IPv6].src, packet[UDP]
        payload = bytes(udp.payload)
        if option and self.binding.get(home) != source:
            say("unknown-binding", source)
            front = IPv6(src=self.address, dst=source)
            return self.send(front / MIP6MH_BE(status=1, ha=home))
        say("direct" if option else "tunnelled", source, payload.decode(errors="replace")[:40])
        front = self.to(home, self.binding.get(home))
        return self.send(front / UDP(sport=udp.dport, dport=udp.sport) / payload)

    def receive(self):
        frame = self.link.recv()
        if frame is None or IPv6 not in frame or frame[IPv6].dst != self.address:
            return
        self.capture.write(frame)
        packet = frame[IPv6]
        whole = bytes(packet.original)[: 40 + packet.plen]
        options = packet[IPv6ExtHdrDestOpt].options if IPv6ExtHdrDestOpt in packet else []
        option = [it.hoa for it in options if isinstance(it, HAO)]
        home = option[0] if option else packet.src
        if UDP in packet:
            # Section 6.3: over the home address, wherever that stands.
            if not valid(home, self.address, whole[40 + (24 if option else 0) :]):
                return say("bad-checksum")
            return self.data(frame, home, option)
        if packet.nh == 135 or (option and packet[IPv6ExtHdrDestOpt].nh == 135):
            at = 40 + (24 if option else 0)
            header = whole[at : at + 8 * (whole[at + 1] + 1)]
            return self.mobility(frame, home, header)
        return None

    def run(self):
        say("ready")
        while True:
            readable, _, _ = select.select([self.link, sys.stdin], [], [])
            if sys.stdin in readable:
                if not sys.stdin.readline():
                    return
                self.binding.clear()
                say("forgotten")
            if self.link in readable:
                self.receive()


if __name__ == "__main__":
    interface, address, router, pcap, *mode = sys.argv[1:]
    Correspondent(interface, address, router, pcap, mode[0] if mode else "").run()
