"""Reads and writes Mobile IPv6 packets with Scapy, for mobility.rs.

decode  takes IPv6 packets as hex from stdin, one a line, and prints for each what Scapy sees: the
        fields, and whether Scapy arrives at the same octets (checksum included) from them.
build   prints IPv6 packets as hex, one a line, each with its name in front.
"""

import sys

from scapy.layers.inet6 import (
    HAO,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrRouting,
    MIP6MH_BA,
    MIP6MH_BE,
    MIP6MH_BRR,
    MIP6MH_BU,
    MIP6MH_Generic,
    MIP6OptAltCoA,
    MIP6OptBRAdvice,
    MIP6OptMNID,
    MIP6OptNonceIndices,
    MIP6OptUnknown,
    Pad1,
    PadN,
)

HOA, HA, COA = "2001:db8:1::10", "2001:db8:1::1", "2001:db8:2::77"


def options(message):
    for option in message.options:
        if isinstance(option, MIP6OptAltCoA):
            yield f"alternate-coa={option.acoa}"
        elif isinstance(option, MIP6OptBRAdvice):
            yield f"refresh-advice={option.rinter}"
        elif isinstance(option, MIP6OptMNID):
            yield f"mn-id={option.subtype}:{option.id.decode()}"
        elif isinstance(option, MIP6OptNonceIndices):
            yield f"nonces={option.hni},{option.coni}"
        elif isinstance(option, MIP6OptUnknown):
            yield f"option-{option.otype}={option.odata.hex()}"
        elif not isinstance(option, (Pad1, PadN)):
            yield f"unexpected={option!r}"


def describe(packet):
    if packet.haslayer(HAO):
        yield f"hoa={packet[HAO].hoa}"
    if packet.haslayer(IPv6ExtHdrRouting):
        routing = packet[IPv6ExtHdrRouting]
        yield f"type={routing.type} left={routing.segleft} to={routing.addresses[0]}"
    if packet.haslayer(MIP6MH_BU):
        bu = packet[MIP6MH_BU]
        yield f"BU seq={bu.seq} flags={bu.flags} f={bu.reserved >> 8} lifetime={bu.mhtime}"
        yield from options(bu)
    if packet.haslayer(MIP6MH_BA):
        ba = packet[MIP6MH_BA]
        yield f"BA status={ba.status} flags={ba.flags} seq={ba.seq} lifetime={ba.mhtime}"
        yield from options(ba)
    if packet.haslayer(MIP6MH_BE):
        yield f"BE status={packet[MIP6MH_BE].status} ha={packet[MIP6MH_BE].ha}"
    if packet.haslayer(MIP6MH_BRR):
        yield "BRR"


def checksum_agrees(octets):
    packet = IPv6(octets)
    message = next(layer for layer in packet.layers() if layer.__name__.startswith("MIP6MH_"))
    packet[message].cksum = None
    if packet.haslayer(HAO):
        # Scapy's checksum sees a Home Address option only where it stands alone; the padding in
        # front comes back by itself.
        packet[IPv6ExtHdrDestOpt].options = [HAO(hoa=packet[HAO].hoa)]
    return bytes(packet) == octets


def decode():
    for line in sys.stdin:
        octets = bytes.fromhex(line)
        agrees = "same-octets" if checksum_agrees(octets) else "OTHER-OCTETS"
        print(" ".join([*describe(IPv6(octets)), agrees]))


def build():
    away = IPv6(src=COA, dst=HA) / IPv6ExtHdrDestOpt(options=[HAO(hoa=HOA)])
    full = [
        MIP6OptAltCoA(acoa=COA),
        MIP6OptUnknown(otype=99, odata=b"skip"),
        MIP6OptMNID(id="mn@a.bc"),
        MIP6OptUnknown(otype=29, odata=bytes([32 << 2, 0, 198, 51, 100, 16])),
    ]
    # Scapy's own default of 16 is not the length of RFC 6275 s.6.2.6.
    nonces = [MIP6OptNonceIndices(olen=4)]
    packets = {
        "bare": away / MIP6MH_BU(seq=1, flags="HA", mhtime=15),
        "full": away / MIP6MH_BU(seq=0x1234, flags="HAKL", mhtime=900, options=full),
        "nonces": away / MIP6MH_BU(seq=2, flags="HA", mhtime=1, options=nonces),
        "at-home": IPv6(src=HOA, dst=HA) / MIP6MH_BU(seq=3, flags="HA", mhtime=0),
        "ack": IPv6(src=HA, dst=COA)
        / IPv6ExtHdrRouting(type=2, addresses=[HOA])
        / MIP6MH_BA(status=129, seq=3, mhtime=0, options=[MIP6OptBRAdvice(rinter=7)]),
        "unknown": away / MIP6MH_Generic(mhtype=99, msg=b"\0" * 2),
    }
    for name, packet in packets.items():
        print(name, bytes(packet).hex())


{"decode": decode, "build": build}[sys.argv[1]]()
