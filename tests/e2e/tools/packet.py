"""Ethernet, IP, UDP and TCP by hand, and the raw sockets that they go through."""
import fcntl
import ipaddress
import socket
import struct
import time

ETH_IPV4, ETH_ARP, ETH_IPV6 = 0x0800, 0x0806, 0x86DD
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
SYN = 0x02
SIOCGIFHWADDR = 0x8927
BROADCAST = b"\xff" * 6


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packed(address):
    return ipaddress.ip_address(address).packed


def is_v6(address):
    return ":" in address


def l4_checksum(src, dst, proto, segment):
    if is_v6(src):
        pseudo = packed(src) + packed(dst) + struct.pack("!IHBB", len(segment), 0, 0, proto)
    else:
        pseudo = packed(src) + packed(dst) + struct.pack("!BBH", 0, proto, len(segment))
    return checksum(pseudo + segment)


def ip(src, dst, proto, payload, ttl=64):
    if is_v6(src):
        head = struct.pack("!IHBB", 6 << 28, len(payload), proto, ttl)
        return head + packed(src) + packed(dst) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0x4000, ttl, proto, 0,
                       packed(src), packed(dst))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def udp(src, sport, dst, dport, payload=b"", ttl=64):
    segment = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    total = l4_checksum(src, dst, UDP, segment) or 0xFFFF
    return ip(src, dst, UDP, segment[:6] + struct.pack("!H", total) + segment[8:], ttl)


def tcp(src, sport, dst, dport, flags=SYN, seq=1, ttl=64):
    segment = struct.pack("!HHIIBBHHH", sport, dport, seq, 0, 0x50, flags, 64240, 0, 0)
    total = l4_checksum(src, dst, TCP, segment)
    return ip(src, dst, TCP, segment[:16] + struct.pack("!H", total) + segment[18:], ttl)


def ping(src, dst, ident=1, seq=1, payload=b"portier"):
    proto, kind = (ICMPV6, 128) if is_v6(src) else (ICMP, 8)
    message = struct.pack("!BBHHH", kind, 0, 0, ident, seq) + payload
    total = l4_checksum(src, dst, proto, message) if is_v6(src) else checksum(message)
    return ip(src, dst, proto, message[:2] + struct.pack("!H", total) + message[4:])


class Wire:
    """A raw socket on one interface: whole frames out, whole frames in."""

    def __init__(self, interface):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        self.sock.bind((interface, 0))
        request = struct.pack("256s", interface.encode())
        self.mac = fcntl.ioctl(self.sock.fileno(), SIOCGIFHWADDR, request)[18:24]

    def send(self, mac, packet):
        ethertype = ETH_IPV6 if packet[0] >> 4 == 6 else ETH_IPV4
        self.sock.send(mac + self.mac + struct.pack("!H", ethertype) + packet)

    def frames(self, seconds):
        """What others sent, as (ethertype, packet), for so long; our own frames are left out."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                frame, where = self.sock.recvfrom(65536)
            except TimeoutError:
                return
            if where[2] != socket.PACKET_OUTGOING:
                yield struct.unpack("!H", frame[12:14])[0], frame[14:]

    def neighbour(self, src, dst, seconds=5):
        """The hardware address of an IPv4 neighbour, asked from src."""
        question = struct.pack("!HHBBH6s4s6s4s", 1, ETH_IPV4, 6, 4, 1, self.mac, packed(src),
                               b"\0" * 6, packed(dst))
        self.sock.send(BROADCAST + self.mac + struct.pack("!H", ETH_ARP) + question)
        for ethertype, packet in self.frames(seconds):
            if ethertype == ETH_ARP and packet[6:8] == b"\0\2" and packet[14:18] == packed(dst):
                return packet[8:14]
        raise SystemExit(f"no ARP answer from {dst}")


class View:
    """What is asked of a received IP packet; fields are None where there is no such header."""

    def __init__(self, ethertype, packet):
        self.sport = self.dport = self.src = self.dst = self.proto = None
        self.payload = b""
        if ethertype == ETH_IPV4:
            begin = (packet[0] & 15) * 4
            self.proto, self.src, self.dst = packet[9], packet[12:16], packet[16:20]
            packet = packet[:struct.unpack("!H", packet[2:4])[0]]
        elif ethertype == ETH_IPV6:
            begin, self.proto, self.src, self.dst = 40, packet[6], packet[8:24], packet[24:40]
            packet = packet[:40 + struct.unpack("!H", packet[4:6])[0]]
        else:
            return
        self.src = str(ipaddress.ip_address(self.src))
        self.dst = str(ipaddress.ip_address(self.dst))
        rest = packet[begin:]
        if self.proto in (TCP, UDP):
            self.sport, self.dport = struct.unpack("!HH", rest[:4])
            self.payload = rest[8:] if self.proto == UDP else rest[(rest[12] >> 4) * 4:]
        else:
            self.payload = rest

    def __str__(self):
        return f"proto {self.proto} {self.src}:{self.sport} -> {self.dst}:{self.dport}"
