#!/usr/bin/env python3
"""Both ends of an AKA secret: MILENAGE (3GPP TS 35.206) in the AuC and in the USIM.

  aka.py auc SOCKET IMSI KI OPC     the AuC that hostapd asks (eap_sim_db)
  aka.py usim FOLDER KI OPC         the USIM of an eapol_test with ctrl_interface=FOLDER,
                                    external_sim=1 and -W: answers one challenge
"""

import os
import socket
import sys
import time

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def xor(one, two):
    return bytes(a ^ b for a, b in zip(one, two))


class Milenage:
    def __init__(self, ki, opc):
        self.ki, self.opc = bytes.fromhex(ki), bytes.fromhex(opc)

    def aes(self, block):
        encryptor = Cipher(algorithms.AES(self.ki), modes.ECB()).encryptor()
        return encryptor.update(block) + encryptor.finalize()

    def out(self, temp, rotation, constant):
        """TS 35.206 s.4.1: OUT2 to OUT5."""
        block = xor(temp, self.opc)
        block = xor(block[rotation:] + block[:rotation], bytes(15) + bytes([constant]))
        return xor(self.aes(block), self.opc)

    def functions(self, rand):
        """f2, f3, f4, f5: RES, CK, IK, AK."""
        temp = self.aes(xor(rand, self.opc))
        out2 = self.out(temp, 0, 1)
        return out2[8:], self.out(temp, 4, 2), self.out(temp, 8, 4), out2[:6]

    def mac(self, rand, sqn, amf):
        """f1: MAC-A."""
        return self.macs(rand, sqn, amf)[:8]

    def resynchronised(self, rand, auts):
        """f1*, f5*: SQN of the USIM; None where AUTS is not by one who knows K."""
        temp = self.aes(xor(rand, self.opc))
        sqn = xor(auts[:6], self.out(temp, 12, 8)[:6])
        return sqn if self.macs(rand, sqn, bytes(2))[8:] == auts[6:] else None

    def macs(self, rand, sqn, amf):
        block = xor((sqn + amf) * 2, self.opc)
        temp = self.aes(xor(rand, self.opc))
        return xor(self.aes(xor(temp, block[8:] + block[:8])), self.opc)


def check():
    """Test set 1 of 3GPP TS 35.207 s.4, 5."""
    milenage = Milenage("465b5ce8b199b49faa5f0a2ee238a6bc", "cd63cb71954a9f4e48a5994e37a02baf")
    rand = bytes.fromhex("23553cbe9637a89d218ae64dae47bf35")
    sqn, amf = bytes.fromhex("ff9bb4d0b607"), bytes.fromhex("b9b9")
    found = [part.hex() for part in milenage.functions(rand)] + [milenage.mac(rand, sqn, amf).hex()]
    assert found == ["a54211d5e3ba50bf", "b40ba9a3c58b2a05bbf0d987b21bf8cb",
                     "f769bcd751044604127672711c6d3441", "aa689c648370", "4a9ffac354dfafb3"], found


def auc(path, imsi, ki, opc):
    """hostapd's eap_sim_db protocol: AKA-REQ-AUTH IMSI -> AKA-RESP-AUTH IMSI RAND AUTN IK CK RES;
    AKA-AUTS IMSI AUTS RAND."""
    milenage, sequence = Milenage(ki, opc), 0
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    stream.bind(path)
    print("ready", flush=True)
    while True:
        request, client = stream.recvfrom(1000)
        words = request.decode().split()
        if words[0] == "AKA-AUTS" and words[1] == imsi:
            auts, rand = bytes.fromhex(words[2]), bytes.fromhex(words[3])
            sqn = milenage.resynchronised(rand, auts)
            if sqn is not None:
                sequence = int.from_bytes(sqn, "big")
        if words[0] != "AKA-REQ-AUTH":
            continue
        answer = "FAILURE"
        if words[1] == imsi:
            sequence += 32
            # The separation bit of AMF is what AKA' wants (RFC 9048 s.3.3).
            rand, sqn, amf = os.urandom(16), sequence.to_bytes(6, "big"), b"\x80\x00"
            res, ck, ik, ak = milenage.functions(rand)
            autn = xor(sqn, ak) + amf + milenage.mac(rand, sqn, amf)
            answer = " ".join(part.hex() for part in (rand, autn, ik, ck, res))
        stream.sendto(f"AKA-RESP-AUTH {words[1]} {answer}".encode(), client)


def usim(folder, ki, opc):
    """wpa_supplicant's control interface: CTRL-REQ-SIM -> CTRL-RSP-SIM."""
    milenage = Milenage(ki, opc)
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    own = os.path.join(folder, "usim")
    deadline = time.monotonic() + 20
    while not (there := [name for name in os.listdir(folder) if name != "usim"]):
        assert time.monotonic() < deadline, "no control interface"
        time.sleep(0.02)
    stream.bind(own)
    stream.connect(os.path.join(folder, there[0]))
    stream.settimeout(20)
    stream.send(b"ATTACH")
    while True:
        event = stream.recv(4096).decode()
        if "CTRL-REQ-SIM-" not in event:
            continue
        what, _, rest = event.partition("CTRL-REQ-SIM-")[2].partition(":")
        kind, rand, autn = rest.split(" ")[0].split(":")
        assert kind == "UMTS-AUTH", event
        rand, autn = bytes.fromhex(rand), bytes.fromhex(autn)
        res, ck, ik, ak = milenage.functions(rand)
        sqn, amf = xor(autn[:6], ak), autn[6:8]
        if autn[8:] == milenage.mac(rand, sqn, amf):
            answer = ":".join(["UMTS-AUTH", ik.hex(), ck.hex(), res.hex()])
        else:
            answer = "UMTS-FAIL"
        stream.send(f"CTRL-RSP-SIM-{what}:{answer}".encode())
        return


check()
{"auc": auc, "usim": usim}[sys.argv[1]](*sys.argv[2:])
