#!/usr/bin/env python3
"""The octets of the packets that conformance cases name, built by Scapy.

octets.py --check FOLDER   says where the octets in a .case file are not Scapy's, and fails then
octets.py --write FOLDER   writes Scapy's octets under every packet
octets.py --build          reads packets in the notation from standard input, one a line behind the
                           addresses of home agent and mobile node, and prints Next Header and
                           payload as hex, one a line

docs/conformance.md describes the notation. What Scapy 2.5 does not know is built here from the RFCs
(option types 28 to 45, MH types 12, 13 and 16), from nothing of ours.
"""

import ipaddress
import os
import re
import struct
import sys

from scapy.layers.inet6 import (
    HAO,
    ICMPv6HAADReply,
    ICMPv6HAADRequest,
    ICMPv6MPAdv,
    ICMPv6MPSol,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptHAInfo,
    ICMPv6NDOptPrefixInfo,
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
    MIP6OptMobNetPrefix,
    MIP6OptNonceIndices,
    MIP6OptUnknown,
    PadN,
)
from scapy.layers.l2 import ARP, Ether

HA = "2001:db8:6618::1"
DESTINATION_OPTIONS, ROUTING, MOBILITY = 60, 43, 135
# |A|H|L|K|M|R|P|F|T|O|: RFC 6275 s.6.1.7, RFC 3963 s.4.1, RFC 5555 s.3.1.3, RFC 5648 s.4.2
BU_FLAGS = {"A": 0x8000, "H": 0x4000, "L": 0x2000, "K": 0x1000, "R": 0x0400, "F": 0x0100, "O": 0x0040}
BA_FLAGS = {"K": 0x80, "R": 0x40}
REVOCATION_FLAGS = {"P": 0x8000, "V": 0x4000, "G": 0x2000}


def home_address(node):
    return "2001:db8:6618:100::" + node


# ---- the notation

ITEM = re.compile(r"([A-Za-z0-9]+)(?:\(([^)]*)\))?\s*")


def items(text):
    """NAME(ARGUMENTS) NAME ... as pairs of a name and its arguments."""
    place = 0
    while place < len(text):
        match = ITEM.match(text, place)
        if not match:
            raise ValueError(f"not a packet: {text[place:]}")
        yield match[1], (match[2] or "").split()
        place = match.end()


def arguments(words):
    """Words without and with a key."""
    plain = [word for word in words if "=" not in word]
    keyed = dict(word.split("=", 1) for word in words if "=" in word)
    return plain, keyed


def number(text):
    return int(text, 0)


def flags(words, known):
    bits = 0
    for word in words:
        if word.isalpha() and word.isupper():
            for letter in word:
                bits |= known[letter]
    return bits


# ---- options


def option(kind, data, align=(0, 0)):
    built = MIP6OptUnknown(otype=kind, odata=bytes(data))
    built.x, built.y = align
    return built


def v4(text):
    return ipaddress.IPv4Address(text).packed


def v6(text):
    return ipaddress.IPv6Address(text).packed


def ipv4_home_address(plain, keyed):
    # RFC 5555 s.3.1.1: |Prefix-len (6)|P|Reserved (9)|
    address, length = plain[0].split("/")
    word = int(length) << 10 | (0x0200 if "P" in plain[1:] else 0)
    return option(29, struct.pack("!H", word) + v4(address), (4, 0))


def ipv4_acknowledgement(plain, keyed):
    # RFC 5555 s.3.2.1: |Status|Pref-len (6)|Res|
    address, length = plain[0].split("/")
    return option(30, struct.pack("!BB", number(keyed["status"]), int(length) << 2) + v4(address), (4, 0))


def nat_detection(plain, keyed):
    # RFC 5555 s.3.2.2: |F|Reserved (15)|, refresh time
    seconds = 0xFFFFFFFF if plain[0] == "none" else number(plain[0])
    return option(31, struct.pack("!HI", 0x8000 if "F" in plain[1:] else 0, seconds), (4, 0))


def ipv4_care_of_address(plain, keyed):
    return option(32, b"\0\0" + v4(plain[0]), (4, 0))


def binding_identifier(plain, keyed):
    # RFC 5648 s.4.1, RFC 6089 s.4.1: |BID|Status|H|BID-PRI|
    addresses = [word for word in plain[1:] if word != "H"]
    data = struct.pack(
        "!HBB",
        number(plain[0]),
        number(keyed.get("status", "0")),
        (0x80 if "H" in plain else 0) | number(keyed.get("pri", "0")),
    )
    if not addresses:
        return option(35, data, (2, 0))
    return option(35, data + ipaddress.ip_address(addresses[0]).packed, (8, 2))


# RFC 6088 s.3.1 and 3.2: fields in the order of their flags
V4_FIELDS = [("src", 4), ("dst", 4), ("spi", 4), ("sport", 2), ("dport", 2), ("dscp", 1), ("proto", 1)]
V6_FIELDS = V4_FIELDS[:3] + [("label", 4)] + V4_FIELDS[3:]


def selector_value(name, length, text):
    if name in ("src", "dst"):
        return ipaddress.ip_address(text).packed
    value = number(text) << 2 if name == "dscp" else number(text)
    return value.to_bytes(length, "big")


def traffic_selector(plain, keyed):
    """TS Format, a reserved octet, the selector; None where there is none."""
    if "format" in keyed:
        form, _, rest = keyed["format"].partition(":")
        return bytes([number(form), 0]) + bytes.fromhex(rest), 2
    if "v4" not in plain and "v6" not in plain:
        return None
    form, fields, align = (1, V4_FIELDS, 4) if "v4" in plain else (2, V6_FIELDS, 8)
    bits, data = 0, b""
    for place, (name, length) in enumerate(fields):
        if name not in keyed:
            continue
        first, _, last = keyed[name].partition("-")
        bits |= 1 << (31 - 2 * place)
        data += selector_value(name, length, first)
        if last:
            bits |= 1 << (30 - 2 * place)
            data += selector_value(name, length, last)
    return bytes([form, 0]) + struct.pack("!I", bits) + data, align


def pad(data, at, modulus):
    missing = -(at + len(data)) % modulus
    if missing == 1:
        return data + b"\0"
    return data + (b"\1" + bytes([missing - 2]) + bytes(missing - 2) if missing else b"")


def flow_identification(plain, keyed, at):
    # RFC 6089 s.4.2: |FID|FID-PRI|Reserved|Status|, sub-options; `at` is where the option starts.
    data = struct.pack(
        "!HHBB", number(plain[0]), number(keyed["pri"]), 0, number(keyed.get("status", "0"))
    )
    if "bids" in keyed:
        bids = [number(bid) for bid in keyed["bids"].split(",")]
        data = pad(data, at + 2, 2) + struct.pack("!BB", 2, 2 * len(bids))
        data += b"".join(struct.pack("!H", bid) for bid in bids)
    selector = traffic_selector(plain, keyed)
    if selector:
        content, align = selector
        data = pad(data, at + 2, align) + struct.pack("!BB", 3, len(content)) + content
    return option(45, data, (2, 0))


def flow_summary(plain, keyed):
    return option(44, b"".join(struct.pack("!H", number(flow)) for flow in plain), (2, 0))


def link_layer_address(plain, keyed):
    # RFC 5568 s.6.4.4: Option-Code 2 is the mobile node's; RFC 5648 s.5.6
    return option(7, b"\2" + bytes.fromhex(plain[0].replace(":", "")))


def mobile_node_identifier(plain, keyed):
    return MIP6OptMNID(subtype=number(plain[0]), id=" ".join(plain[1:]).encode())


def mobile_network_prefix(plain, keyed):
    prefix, length = plain[0].split("/")
    return MIP6OptMobNetPrefix(prefix=prefix, plen=int(length))


def raw_option(plain, keyed):
    """The length octet is the data's unless said otherwise; without any data there is still one."""
    data = bytes.fromhex("".join(plain[1:]))
    built = option(number(plain[0]), data)
    if "len" in keyed:
        built.olen = number(keyed["len"])
    return built


OPTIONS = {
    "AltCoA": lambda plain, keyed: MIP6OptAltCoA(acoa=plain[0]),
    "Nonces": lambda plain, keyed: MIP6OptNonceIndices(olen=4),
    "Advice": lambda plain, keyed: MIP6OptBRAdvice(rinter=number(plain[0])),
    "MNID": mobile_node_identifier,
    "MNP": mobile_network_prefix,
    "LLA": link_layer_address,
    "Restart": lambda plain, keyed: option(28, struct.pack("!I", number(plain[0])), (4, 2)),
    "IPv4HoA": ipv4_home_address,
    "IPv4Ack": ipv4_acknowledgement,
    "NAT": nat_detection,
    "IPv4CoA": ipv4_care_of_address,
    "BID": binding_identifier,
    "Summary": flow_summary,
    "Opt": raw_option,
}


def laid_out(options, start):
    """Options one behind the other, aligned, the first at octet `start` of the message."""
    data = b""
    for name, words in options:
        plain, keyed = arguments(words)
        if name == "Flow":
            at = start + len(data)
            data = pad(data, start, 2)
            built = flow_identification(plain, keyed, start + len(data))
            assert at <= start + len(data)
        else:
            built = OPTIONS[name](plain, keyed)
        missing = built.alignment_delta(start + len(data))
        data += bytes(padding(missing)) + bytes(built)
    return data + padding(-(start + len(data)) % 8)


def padding(length):
    if length == 0:
        return b""
    return b"\0" if length == 1 else bytes(PadN(optdata=b"\0" * (length - 2)))


# ---- messages

def scapy_options(options):
    """Scapy's own options, where it lays them out itself."""
    return [OPTIONS[name](*arguments(words)) for name, words in options]


def binding_update(plain, keyed, options):
    bits = flags(plain, BU_FLAGS)
    bits |= number(keyed.get("bits", "0"))
    # Scapy knows seven flags; what is behind them is its `reserved`.
    return MIP6MH_BU(
        seq=number(keyed["seq"]),
        flags=bits >> 9,
        reserved=bits & 0x1FF,
        mhtime=number(keyed["lt"]),
    ), 12


def binding_acknowledgement(plain, keyed, options):
    # Scapy has K last of three flags, where RFC 3963 s.4.2 has K, R.
    bits = flags(plain, BA_FLAGS)
    built = MIP6MH_BA(
        status=number(keyed["status"]),
        flags=0,
        res2=0,
        seq=number(keyed["seq"]),
        mhtime=number(keyed["lt"]),
    )
    raw = bytearray(struct.pack("!BBHH", built.status, bits, built.seq, built.mhtime))
    return generic(6, raw), 12


def generic(mh_type, data):
    return MIP6MH_Generic(mhtype=mh_type, res=0, msg=bytes(data))


def message_data(name, plain, keyed):
    """MH Type, Message Data in front of the options."""
    if name == "BRR":
        return 0, b"\0\0"
    if name == "Switch":
        # RFC 5142 s.4: |# of Addresses|Reserved|, addresses
        return 12, struct.pack("!BB", len(plain), 0) + b"".join(v6(address) for address in plain)
    if name == "Heartbeat":
        # RFC 5847 s.3.3: |Reserved (14)|U|R|, sequence number
        bits = (2 if "U" in plain else 0) | (1 if "R" in plain else 0)
        return 13, struct.pack("!HI", bits, number(keyed["seq"]))
    if name == "BRI":
        # RFC 5846 s.5.1: |B.R. Type = 1|Trigger|Sequence #|P|V|G|Reserved|
        return 16, struct.pack(
            "!BBHH", 1, number(keyed["trigger"]), number(keyed["seq"]), flags(plain, REVOCATION_FLAGS)
        )
    if name == "BRA":
        return 16, struct.pack(
            "!BBHH", 2, number(keyed["status"]), number(keyed["seq"]), flags(plain, REVOCATION_FLAGS)
        )
    if name == "MH":
        return number(keyed["type"]), bytes.fromhex("".join(plain))
    raise ValueError(f"no message is called {name}")


SCAPYS_OWN = {"AltCoA", "Nonces", "Advice", "MNID", "MNP", "Opt"}


def mobility_header(name, words, options, source, destination):
    plain, keyed = arguments(words)
    below = IPv6(src=keyed.get("over", source), dst=destination)
    if name == "BE":
        built = MIP6MH_BE(status=number(keyed["status"]), ha=keyed["home"])
    elif name == "BU":
        built, start = binding_update(plain, keyed, options)
        if all(option_name in SCAPYS_OWN for option_name, _ in options):
            # Scapy aligns and pads by itself.
            built.options = scapy_options(options)
        else:
            fixed = struct.pack("!HHH", built.seq, int(built.flags) << 9 | built.reserved, built.mhtime)
            built = generic(5, fixed + laid_out(options, start))
    else:
        if name == "BA":
            built, start = binding_acknowledgement(plain, keyed, options)
            data = built.msg
        else:
            mh_type, data = message_data(name, plain, keyed)
            built, start = generic(mh_type, data), 6 + len(data)
        if name == "MH" and not options:
            built.msg = data + bytes(-(6 + len(data)) % 8)
        else:
            built.msg = data + laid_out(options, start)
    for field, key in (("nh", "proto"), ("len", "len"), ("res", "reserved"), ("cksum", "sum")):
        if key in keyed:
            setattr(built, field, number(keyed[key]))
    if built.res is None:
        built.res = 0
    if getattr(built, "res2", 0) is None:
        built.res2 = 0
    return bytes((below / built)[1])


def packet(text, home, ha=HA):
    """Next Header of the trailer and payload of a packet in the notation."""
    parts = list(items(text))
    name, words = parts[0]
    if name == "Payload":
        plain, _ = arguments(words)
        return number(plain[0]), bytes.fromhex("".join(plain[1:]))
    headers = [part for part in parts[1:] if part[0] in ("HaO", "RH2")]
    options = [part for part in parts[1:] if part[0] not in ("HaO", "RH2")]
    named = [words[0] if words else home for _, words in headers]
    peer = named[0] if named else home
    down = name in ("BA", "BRR", "BE", "Switch", "BRI") and not any(h[0] == "HaO" for h in headers)
    source, destination = (ha, peer) if down else (peer, ha)
    payload = mobility_header(name, words, options, source, destination)
    following = MOBILITY
    for (kind, _), address in reversed(list(zip(headers, named))):
        if kind == "HaO":
            header = IPv6ExtHdrDestOpt(nh=following, options=[HAO(hoa=address)])
            following = DESTINATION_OPTIONS
        else:
            header = IPv6ExtHdrRouting(nh=following, type=2, segleft=1, addresses=[address])
            following = ROUTING
        payload = bytes(header) + payload
    return following, payload


# ---- IPv6 packets and frames

MAC = "02:00:00:00:00:01"


def prefix_option(plain, keyed):
    """RFC 4861 s.4.6.2, RFC 6275 s.7.2"""
    prefix, length = plain[0].split("/")
    letters = "".join(plain[1:])
    return ICMPv6NDOptPrefixInfo(
        prefixlen=int(length),
        L="L" in letters,
        A="A" in letters,
        R="R" in letters,
        validlifetime=number(keyed["valid"]),
        preferredlifetime=number(keyed["pref"]),
        prefix=prefix,
    )


def home_agent_information(plain, keyed):
    """RFC 6275 s.7.4; RFC 3963 s.7.1 has R first in what Scapy has as `res`"""
    return ICMPv6NDOptHAInfo(
        res=0x8000 if "R" in plain else 0,
        pref=number(keyed["pref"]),
        lifetime=number(keyed["lifetime"]),
    )


NEIGHBOUR_OPTIONS = {
    "Prefix": prefix_option,
    "HAInfo": home_agent_information,
    "TLLA": lambda plain, keyed: ICMPv6NDOptDstLLAddr(lladdr=plain[0]),
}


def icmp(name, plain, keyed):
    letters = "".join(plain)
    if name == "NS":
        return ICMPv6ND_NS(tgt=keyed["target"]), 255
    if name == "NA":
        flags = {flag: int(flag in letters) for flag in "RSO"}
        return ICMPv6ND_NA(tgt=keyed["target"], **flags), 255
    if name == "RA":
        flags = {flag: int(flag in letters) for flag in "MOH"}
        return ICMPv6ND_RA(chlim=64, prf=0, routerlifetime=number(keyed["lifetime"]), **flags), 255
    identifier = number(keyed["id"])
    if name == "MPS":
        return ICMPv6MPSol(id=identifier), 64
    if name == "MPA":
        return ICMPv6MPAdv(id=identifier, flags=2 * ("M" in letters) + ("O" in letters)), 64
    if name == "DHAAD":
        return ICMPv6HAADRequest(id=identifier, R=int("R" in letters)), 64
    if name == "DHAADReply":
        addresses = keyed["list"].split(",")
        return ICMPv6HAADReply(id=identifier, R=int("R" in letters), addresses=addresses), 64
    raise ValueError(f"no packet is called {name}")


def ip_packet(text):
    parts = list(items(text))
    name, words = parts[0]
    plain, keyed = arguments(words)
    source, destination = keyed["src"], keyed["dst"]
    if name == "BE":
        header = IPv6(src=source, dst=destination, hlim=64)
        return header / MIP6MH_BE(status=number(keyed["status"]), ha=keyed["home"])
    message, hop_limit = icmp(name, plain, keyed)
    packet = IPv6(src=source, dst=destination, hlim=hop_limit)
    for kind, words in parts[1:]:
        if kind == "RH2":
            packet /= IPv6ExtHdrRouting(type=2, segleft=1, addresses=[words[0]])
    packet /= message
    for kind, words in parts[1:]:
        if kind != "RH2":
            packet /= NEIGHBOUR_OPTIONS[kind](*arguments(words))
    return packet


def frame(text):
    (name, words), *_ = items(text)
    if name == "ARP":
        _, keyed = arguments(words)
        request = ARP(op=1, hwsrc=MAC, psrc=keyed["sender"], pdst=keyed["target"])
        return Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / request
    packet = ip_packet(text)
    group = ipaddress.IPv6Address(packet.dst).packed[-4:]
    return Ether(src=MAC, dst="33:33:" + group.hex(":")) / packet


# ---- case files

PACKET = re.compile(r"[<>]\s+(?P<packet>[A-Z][A-Za-z0-9]*(\(|\s).*?)\s+(from|to)\s.*under\s+(?P<spi>\d+)")
FRAME = re.compile(r"<\s+frame\s+\d+\s+(?P<packet>.*\S)")
IP = re.compile(
    r"[<>]\s+(data\s+[a-f]|plain|link\s+\d+|own\s+\d+|discovery|inner\s+\d+)\s+(?P<packet>(?!ParamProblem)[A-Z].*\S)"
)
SA = re.compile(r"(given|!)\s+sa\s+(?P<spi>\d+)\s+(?P<node>[a-f])\b")
OCTETS = re.compile(r"\s+(\d+|ip|eth): [0-9a-f ]*$|\s+[0-9a-f]{2,4}( [0-9a-f]{2,4})*$")


def printed(next_header, payload):
    words = [payload[at : at + 2].hex() for at in range(0, len(payload), 2)]
    lines = [" ".join(words[at : at + 16]) for at in range(0, len(words), 16)]
    return [f"        {next_header}: {lines[0]}"] + [f"            {line}" for line in lines[1:]]


def blessed(text):
    """A case with Scapy's octets under every packet."""
    nodes, lines = {}, []
    for line in text.splitlines():
        if OCTETS.match(line):
            continue
        lines.append(line)
        code = line.split("#")[0]
        if match := SA.match(code):
            nodes[match["spi"]] = match["node"]
        if match := PACKET.match(code):
            node = nodes.get(match["spi"], "a")
            lines += printed(*packet(match["packet"], home_address(node)))
        elif match := FRAME.match(code):
            lines += printed("eth", bytes(frame(match["packet"])))
        elif match := IP.match(code):
            lines += printed("ip", bytes(ip_packet(match["packet"])))
    return "\n".join(lines) + "\n"


def cases(folder):
    for place, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            if name.endswith(".case"):
                yield os.path.join(place, name)


def main():
    if sys.argv[1] == "--build":
        for line in sys.stdin:
            ha, home, text = line.strip().split(" ", 2)
            next_header, payload = packet(text, home, ha)
            print(next_header, payload.hex())
        return
    wrong = []
    for path in cases(sys.argv[2]):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        try:
            right = blessed(text)
        except (ValueError, KeyError, IndexError) as error:
            sys.exit(f"{path}: {error!r}")
        if text == right:
            continue
        if sys.argv[1] == "--write":
            with open(path, "w", encoding="utf-8") as file:
                file.write(right)
        else:
            pairs = zip(text.splitlines(), right.splitlines())
            first = next((n for n, (a, b) in enumerate(pairs, 1) if a != b), len(text.splitlines()))
            wrong.append(f"{path}:{first}: the octets are not Scapy's")
    if wrong:
        sys.exit("\n".join(wrong))


main()
