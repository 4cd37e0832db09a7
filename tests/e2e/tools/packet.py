"""Ethernet, IP, UDP, TCP and ICMP by hand, and the raw sockets that they go through."""
import contextlib
import ctypes
import fcntl
import ipaddress
import socket
import struct
import time

ETH_IPV4, ETH_ARP, ETH_IPV6 = 0x0800, 0x0806, 0x86DD
ICMP, TCP, UDP, GRE, ICMPV6 = 1, 6, 17, 47, 58
FRAGMENT_HEADER, DESTINATION_OPTIONS = 44, 60
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
DONT_FRAGMENT, MORE_FRAGMENTS, MORE_FRAGMENTS6 = 0x4000, 0x2000, 1
CLONE_NEWNET = 0x40000000
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


def ip(src, dst, proto, payload, ttl=64, ident=0, fragment=DONT_FRAGMENT):
    """fragment: flags and offset as in the IPv4 header; a 32-bit word as in the extension header
    of IPv6, where what is not a fragment has no such header."""
    if is_v6(src):
        if fragment != DONT_FRAGMENT:
            payload = struct.pack("!BBHI", proto, 0, fragment, ident) + payload
            proto = FRAGMENT_HEADER
        head = struct.pack("!IHBB", 6 << 28, len(payload), proto, ttl)
        return head + packed(src) + packed(dst) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), ident, fragment, ttl, proto, 0,
                       packed(src), packed(dst))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def udp(src, sport, dst, dport, payload=b"", ttl=64):
    segment = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    total = l4_checksum(src, dst, UDP, segment) or 0xFFFF
    return ip(src, dst, UDP, segment[:6] + struct.pack("!H", total) + segment[8:], ttl)


def tcp(src, sport, dst, dport, flags=SYN, seq=1, ttl=64, ack=0, payload=b""):
    segment = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, 64240, 0, 0) + payload
    total = l4_checksum(src, dst, TCP, segment)
    return ip(src, dst, TCP, segment[:16] + struct.pack("!H", total) + segment[18:], ttl)


def icmp(src, dst, kind, code, word, payload=b""):
    """word: the four bytes after the checksum, as a number."""
    message = struct.pack("!BBHI", kind, code, 0, word) + payload
    proto = ICMPV6 if is_v6(src) else ICMP
    total = l4_checksum(src, dst, proto, message) if is_v6(src) else checksum(message)
    return ip(src, dst, proto, message[:2] + struct.pack("!H", total) + message[4:])


def ping(src, dst, ident=1, seq=1, payload=b"portier", is_reply=False):
    kind = (129 if is_reply else 128) if is_v6(src) else (0 if is_reply else 8)
    return icmp(src, dst, kind, 0, ident << 16 | seq, payload)


def extend(packet6, count):
    """So many headers of destination options before the transport of an IPv6 packet."""
    proto, length = packet6[6], int.from_bytes(packet6[4:6], "big")
    for _ in range(count):
        packet6 = (packet6[:4] + struct.pack("!HB", length + 8, DESTINATION_OPTIONS) + packet6[7:40]
                   + bytes([proto, 0, 1, 4, 0, 0, 0, 0]) + packet6[40:])
        proto, length = DESTINATION_OPTIONS, length + 8
    return packet6


@contextlib.contextmanager
def namespace(name):
    """Inside of it, sockets are made in a network namespace; they stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as ours, open(f"/run/netns/{name}") as theirs:
        if libc.setns(theirs.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {name}")
        try:
            yield
        finally:
            libc.setns(ours.fileno(), CLONE_NEWNET)


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


class Tunnel:
    """The inside of a tunnel: bare IP packets, without Ethernet. What the host itself sends there
    is left out."""

    def __init__(self, interface):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.sock.bind((interface, 3))
        self.interface = interface

    def send(self, packet):
        self.sock.sendto(packet, (self.interface, ETH_IPV6 if packet[0] >> 4 == 6 else ETH_IPV4))

    def frames(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                packet, where = self.sock.recvfrom(65536)
            except TimeoutError:
                return
            if where[2] != socket.PACKET_OUTGOING:
                yield where[1], packet


class View:
    """What is asked of a received IP packet; fields are None where there is no such header."""

    def __init__(self, ethertype, packet):
        self.sport = self.dport = self.src = self.dst = self.proto = self.flags = None
        self.payload = self.quote = b""
        if ethertype == ETH_IPV4:
            begin = (packet[0] & 15) * 4
            self.proto, self.src, self.dst = packet[9], packet[12:16], packet[16:20]
            self.ident, self.fragment = struct.unpack("!HH", packet[4:8])
            self.ttl = packet[8]
            packet = packet[:struct.unpack("!H", packet[2:4])[0]]
        elif ethertype == ETH_IPV6:
            begin, self.proto, self.src, self.dst = 40, packet[6], packet[8:24], packet[24:40]
            self.ttl = packet[7]
            packet = packet[:40 + struct.unpack("!H", packet[4:6])[0]]
        else:
            return
        self.src = str(ipaddress.ip_address(self.src))
        self.dst = str(ipaddress.ip_address(self.dst))
        while ethertype == ETH_IPV6 and self.proto == DESTINATION_OPTIONS:
            self.proto, begin = packet[begin], begin + 8 * (packet[begin + 1] + 1)
        self.packet, self.l4 = packet, packet[begin:]
        self.parse_l4(self.l4)

    def parse_l4(self, rest):
        if self.proto in (TCP, UDP) and len(rest) >= 4:
            self.sport, self.dport = struct.unpack("!HH", rest[:4])
        if self.proto == TCP and len(rest) >= 20:
            self.flags = rest[13]
            self.payload = rest[(rest[12] >> 4) * 4:]
        elif self.proto in (TCP, UDP):
            self.payload = rest[8:]
        else:
            self.payload = rest
        if self.is_echo():
            self.sport = self.dport = struct.unpack("!H", rest[4:6])[0]
        elif self.proto in (ICMP, ICMPV6):
            self.quote = rest[8:]

    def is_echo(self):
        return bool(self.payload) and (
            self.proto == ICMP and self.payload[0] in (0, 8) or
            self.proto == ICMPV6 and self.payload[0] in (128, 129))

    def quoted(self):
        """Of an ICMP error: what it is about."""
        return View(ETH_IPV6 if self.proto == ICMPV6 else ETH_IPV4, self.quote)

    def sums_are_right(self):
        """Header and transport checksums, and of an ICMP error the quoted header's."""
        head = self.packet[:(self.packet[0] & 15) * 4] if not is_v6(self.src) else b""
        if self.proto == ICMP:
            rest = checksum(self.l4)
        else:
            rest = l4_checksum(self.src, self.dst, self.proto, self.l4)
        quoted = self.quote[:20] if self.proto == ICMP else b""
        return rest == 0 and (not head or checksum(head) == 0) and (
            not quoted or checksum(quoted) == 0)

    def __str__(self):
        return f"proto {self.proto} {self.src}:{self.sport} -> {self.dst}:{self.dport}"
