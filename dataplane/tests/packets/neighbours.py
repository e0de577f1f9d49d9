"""Neighbours of a home link, as Scapy plays them.

    neighbours.py ask FILE    writes questions for bound addresses into a capture file
    neighbours.py read FILE   prints the answers in one, a line each
"""

import sys

from scapy.all import (ARP, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr,
                       Ether, IPv6, in6_getnsma, in6_getnsmac, in6_ptop, inet_ntop, inet_pton,
                       rdpcap, wrpcap)
import socket

OWN, HOME6, HOME4 = "02:00:00:00:bb:07", "2001:db8:f::1:1", "203.0.113.1"
LOCAL6, ASKER6, ASKER4 = "fe80::1:1", "2001:db8:f::c0", "203.0.113.200"


def solicitation(source, target, unicast=None, option=True):
    group = in6_getnsma(inet_pton(socket.AF_INET6, target))
    mac = unicast or in6_getnsmac(group)
    to = target if unicast else inet_ntop(socket.AF_INET6, group)
    packet = Ether(src=OWN, dst=mac) / IPv6(src=source, dst=to, hlim=255) / ICMPv6ND_NS(tgt=target)
    return packet / ICMPv6NDOptSrcLLAddr(lladdr=OWN) if option else packet


def arp(source):
    return Ether(src=OWN, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=OWN, psrc=source, pdst=HOME4)


def ask(file, router):
    wrpcap(file, [
        solicitation(ASKER6, HOME6),
        solicitation(ASKER6, HOME6, unicast=router, option=False),
        solicitation("::", HOME6, option=False),
        solicitation("fe80::c0", LOCAL6),
        solicitation("::", LOCAL6, option=False),
        arp(ASKER4),
        arp("0.0.0.0"),
    ])


def sound(packet):
    """Whether the checksum is what Scapy would have written."""
    again = packet.copy()
    del again[ICMPv6ND_NA].cksum
    return Ether(bytes(again))[ICMPv6ND_NA].cksum == packet[ICMPv6ND_NA].cksum


def read(file, router):
    for packet in rdpcap(file):
        name = {router: "router", OWN: "asker", "33:33:00:00:00:01": "all nodes"}
        print(name.get(packet.src, packet.src), ">", name.get(packet.dst, packet.dst), end=" ")
        if ARP in packet:
            answer = packet[ARP]
            print("ARP", answer.op, answer.psrc, "is-at", name.get(answer.hwsrc), "to", answer.pdst)
            continue
        answer = packet[ICMPv6ND_NA]
        option = packet[ICMPv6NDOptDstLLAddr]
        flags = "".join(flag for flag, on in zip("RSO", (answer.R, answer.S, answer.O)) if on)
        print("NA", in6_ptop(answer.tgt), "is-at", name.get(option.lladdr), "from",
              packet[IPv6].src, "to", packet[IPv6].dst, flags, packet[IPv6].hlim,
              "sound" if sound(packet) else "WRONG CHECKSUM")


if __name__ == "__main__":
    {"ask": ask, "read": read}[sys.argv[1]](sys.argv[2], sys.argv[3])
