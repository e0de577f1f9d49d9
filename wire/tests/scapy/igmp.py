"""Builds IGMP messages with Scapy, for igmp.rs.

build   prints the messages as hex, one a line, each with its name in front.
"""

import sys

from scapy.contrib.igmp import IGMP
from scapy.contrib.igmpv3 import IGMPv3, IGMPv3gr, IGMPv3mq, IGMPv3mr

GROUP, SOURCES = "232.1.2.3", ["192.0.2.1", "192.0.2.2"]
MESSAGES = {
    "query-v2": IGMP(type=0x11, mrcode=100),
    "report-v1": IGMP(type=0x12, mrcode=0, gaddr=GROUP),
    "report-v2": IGMP(type=0x16, mrcode=0, gaddr=GROUP),
    "leave": IGMP(type=0x17, mrcode=0, gaddr=GROUP),
    "query-v3": IGMPv3(type=0x11, mrcode=100)
    / IGMPv3mq(gaddr=GROUP, s=1, qrv=2, qqic=125, numsrc=2, srcaddrs=SOURCES),
    "report-v3": IGMPv3(type=0x22, mrcode=0)
    / IGMPv3mr(
        numgrp=2,
        records=[
            IGMPv3gr(rtype=4, maddr=GROUP, numsrc=0),
            IGMPv3gr(rtype=5, maddr="239.1.1.1", numsrc=2, srcaddrs=SOURCES),
        ],
    ),
}


def build():
    for name, message in MESSAGES.items():
        print(name, bytes(message).hex())


{"build": build}[sys.argv[1]]()
