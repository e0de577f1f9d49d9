"""Builds ICMPv6 packets with Scapy, for icmp6.rs.

build   prints IPv6 packets as hex, one a line, each with its name in front.
"""

import sys

from scapy.layers.inet6 import (
    ICMPv6HAADReply,
    ICMPv6HAADRequest,
    ICMPv6MLDMultAddrRec,
    ICMPv6MLDone,
    ICMPv6MLQuery,
    ICMPv6MLQuery2,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    ICMPv6MPAdv,
    ICMPv6MPSol,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptAdvInterval,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptHAInfo,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)

HOA, HA = "2001:db8:1::10", "2001:db8:1::1"
ROUTER, ALL_NODES, SOLICITED_NODE = "fe80::1", "ff02::1", "ff02::1:ff00:10"
SOURCE = ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:01")
PREFIX = ICMPv6NDOptPrefixInfo(
    prefixlen=64, L=1, A=1, R=1, validlifetime=7200, preferredlifetime=3600, prefix=HA
)
ROUTED = ICMPv6NDOptPrefixInfo(
    prefixlen=56, L=0, A=0, R=0, validlifetime=0xFFFFFFFF, preferredlifetime=0, prefix="2001:db8::"
)


def link(source, destination):
    return IPv6(src=source, dst=destination, hlim=255)


# Scapy writes preference bits of RFC 4191 (prf) where RFC 6275 has reserved ones.
ADVERTISEMENT = ICMPv6ND_RA(
    chlim=64, M=0, O=1, H=1, prf=0, routerlifetime=1800, reachabletime=7, retranstimer=8
)
GROUP, OTHER_GROUP = "ff3e::7", "ff05::8"
RECORDS = [
    ICMPv6MLDMultAddrRec(rtype=4, dst=GROUP),
    ICMPv6MLDMultAddrRec(rtype=5, dst=OTHER_GROUP, sources=[HA, HOA]),
]
PACKETS = {
    "rs": link(ROUTER, "ff02::2") / ICMPv6ND_RS() / SOURCE,
    "ra": link(ROUTER, ALL_NODES)
    / ADVERTISEMENT
    / SOURCE
    / ICMPv6NDOptMTU(mtu=1400)
    / ICMPv6NDOptAdvInterval(advint=4000)
    / ICMPv6NDOptHAInfo(pref=5, lifetime=600)
    / PREFIX
    / ROUTED,
    "dad": link("::", SOLICITED_NODE) / ICMPv6ND_NS(tgt=HOA),
    "ns": link(HA, SOLICITED_NODE) / ICMPv6ND_NS(tgt=HOA) / SOURCE,
    "na": link(HA, ALL_NODES)
    / ICMPv6ND_NA(R=0, S=0, O=1, tgt=HOA)
    / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:02"),
    "dhaad-request": IPv6(src=HOA, dst=HA) / ICMPv6HAADRequest(id=0x1234, R=1),
    "dhaad-reply": IPv6(src=HA, dst=HOA) / ICMPv6HAADReply(id=0x1234, R=1, addresses=[HA, HOA]),
    "mps": IPv6(src=HOA, dst=HA) / ICMPv6MPSol(id=0x4321),
    "mpa": IPv6(src=HA, dst=HOA) / ICMPv6MPAdv(id=0x4321, flags=2) / PREFIX / ROUTED,
    "mld-query": IPv6(src=ROUTER, dst=ALL_NODES, hlim=1) / ICMPv6MLQuery(mrd=10000, mladdr="::"),
    "mld-query-v2": IPv6(src=ROUTER, dst=GROUP, hlim=1)
    / ICMPv6MLQuery2(mrd=1000, mladdr=GROUP, S=1, QRV=2, QQIC=125, sources=[HA, HOA]),
    "mld-report": IPv6(src=ROUTER, dst=GROUP, hlim=1) / ICMPv6MLReport(mladdr=GROUP),
    "mld-done": IPv6(src=ROUTER, dst="ff02::2", hlim=1) / ICMPv6MLDone(mladdr=GROUP),
    "mld-report-v2": IPv6(src=ROUTER, dst="ff02::16", hlim=1)
    / ICMPv6MLReport2(records=RECORDS, records_number=2),
}


def build():
    for name, packet in PACKETS.items():
        print(name, bytes(packet).hex())


{"build": build}[sys.argv[1]]()
