"""A host on the home link, by Scapy: what it is told on the command line, it says there.

    claim ADDRESS             an unsolicited Neighbour Advertisement for somebody else's address
    arp ADDRESS               the same by a gratuitous ARP
    peers PREFIX              Router Advertisements of two other home agents in a /64
    discover ANYCAST          home agent address discovery; prints the reply as JSON
    option HA HOME_ADDRESS    a plain ping with a Home Address option; prints the Binding Error
    solicit INTERFACE HOME HA a Mobile Prefix Solicitation out of a mobile node; prints the answer
"""

import json
import socket
import sys
import threading

from scapy.all import (
    ARP,
    AsyncSniffer,
    Ether,
    ICMPv6EchoRequest,
    ICMPv6HAADReply,
    ICMPv6HAADRequest,
    ICMPv6MPAdv,
    ICMPv6MPSol,
    ICMPv6ND_NA,
    ICMPv6ND_RA,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptHAInfo,
    ICMPv6NDOptPrefixInfo,
    HAO,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrRouting,
    MIP6MH_BE,
    conf,
    get_if_hwaddr,
    in6_ptop,
    sendp,
    send,
)

LINK = "home"
ALL_NODES = "ff02::1"
ALL_NODES_MAC = "33:33:00:00:00:01"
PATIENCE = 15


def claim(address):
    mac = get_if_hwaddr(LINK)
    advertisement = ICMPv6ND_NA(R=0, S=0, O=1, tgt=address) / ICMPv6NDOptDstLLAddr(lladdr=mac)
    packet = IPv6(src=address, dst=ALL_NODES, hlim=255) / advertisement
    sendp(Ether(dst=ALL_NODES_MAC) / packet, iface=LINK, verbose=False)


def arp(address):
    mac = get_if_hwaddr(LINK)
    announcement = ARP(op=1, hwsrc=mac, psrc=address, hwdst="00:00:00:00:00:00", pdst=address)
    sendp(Ether(dst="ff:ff:ff:ff:ff:ff") / announcement, iface=LINK, verbose=False)


def peers(prefix):
    for number, preference in ((1, 9), (2, 1)):
        message = ICMPv6ND_RA(H=1, routerlifetime=1800)
        message /= ICMPv6NDOptHAInfo(pref=preference, lifetime=600)
        message /= ICMPv6NDOptPrefixInfo(prefix=f"{prefix}f{number}", prefixlen=64, L=1, A=0, R=1)
        packet = IPv6(src=f"fe80::f{number}", dst=ALL_NODES, hlim=255) / message
        sendp(Ether(dst=ALL_NODES_MAC, src=f"02:00:00:00:00:f{number}") / packet,
              iface=LINK, verbose=False)


def answer_to(question, interface, wanted):
    """The first packet on the interface that is wanted, once the question has been sent."""
    listening = threading.Event()
    sniffer = AsyncSniffer(iface=interface, lfilter=wanted, count=1, timeout=PATIENCE,
                           started_callback=listening.set)
    sniffer.start()
    listening.wait(PATIENCE)
    question()
    sniffer.join()
    if not sniffer.results:
        sys.exit("no answer")
    return sniffer.results[0]


def discover(anycast):
    request = IPv6(dst=anycast) / ICMPv6HAADRequest(id=0x4321, R=0)
    # Scapy finds the link-layer address by itself, from whoever answers for the anycast address.
    reply = answer_to(lambda: send(request, verbose=False), LINK,
                      lambda packet: ICMPv6HAADReply in packet)
    message = reply[ICMPv6HAADReply]
    print(json.dumps({
        "from": in6_ptop(reply[IPv6].src),
        "id": message.id,
        "addresses": [in6_ptop(address) for address in message.addresses],
    }))


def option(home_agent, home_address):
    packet = IPv6(dst=home_agent) / IPv6ExtHdrDestOpt(options=[HAO(hoa=home_address)])
    packet /= ICMPv6EchoRequest(data=b"stranger")
    error = answer_to(lambda: send(packet, verbose=False), LINK,
                      lambda packet: MIP6MH_BE in packet)
    print(json.dumps({
        "status": error[MIP6MH_BE].status,
        "home_address": in6_ptop(error[MIP6MH_BE].ha),
    }))


def solicit(interface, home, home_agent):
    # Scapy knows no TUN without link-layer header: the kernel sends, and a packet socket reads.
    answers = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.ntohs(0x86DD))
    answers.bind((interface, 0x86DD))
    answers.settimeout(PATIENCE)
    asker = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    asker.bind((home, 0))
    # The kernel puts in the checksum of ICMPv6.
    asker.sendto(bytes(ICMPv6MPSol(id=0x1234, cksum=0)), (home_agent, 0))
    while True:
        packet = IPv6(answers.recv(2048))
        if ICMPv6MPAdv in packet and IPv6ExtHdrRouting in packet:
            break
    routing, message = packet[IPv6ExtHdrRouting], packet[ICMPv6MPAdv]
    prefixes = []
    option = message.payload
    while ICMPv6NDOptPrefixInfo in option:
        option = option[ICMPv6NDOptPrefixInfo]
        prefixes.append([in6_ptop(option.prefix), option.prefixlen, option.validlifetime])
        option = option.payload
    print(json.dumps({
        "from": in6_ptop(packet.src),
        "to": in6_ptop(packet.dst),
        "routing": [routing.type, in6_ptop(routing.addresses[0])],
        "id": message.id,
        "prefixes": prefixes,
    }))


if __name__ == "__main__":
    conf.verb = 0
    {"claim": claim, "arp": arp, "peers": peers, "discover": discover, "option": option,
     "solicit": solicit}[sys.argv[1]](*sys.argv[2:])
