-- portier.lua - Pktgen-DPDK: the highest rate without loss at each size, through leases.
--
--   scripts/pktgen/leases open --peers 16 --leases 1024 --keys keys > leases.txt
--   LEASES=leases.txt GATEWAY_MAC=02:00:00:00:00:01 \
--     pktgen -l 0-4 -- -P -m "[1:2].0,[3:4].1" -f scripts/pktgen/portier.lua
--
-- Port 0 faces the public port of the gateway, port 1 its tunnel port: what the gateway seals is
-- counted there. From the environment:
--   LEASES       lines of ADDRESS FIRST-PORT LAST-PORT; the first is used (Pktgen walks one range)
--   GATEWAY_MAC  of the gateway's public port (portierctl ports)
--   SIZES        of inner IP packets, in bytes (default 64 512 1420)
--   SECONDS      of a trial (default 10)
--   LOSS         the share that may be lost (default 0)

local FROM, TO = "0", "1"
local ETHER_BYTES = 18          -- header and frame check sequence: what Pktgen calls the size
local RATES = 10                -- trials of the search: 1/1024 of the link at the end

local function wanted(name, default)
	local value = os.getenv(name) or default
	if value == nil then
		error("set " .. name .. " in the environment; the file says what it is")
	end
	return value
end

local function first_run(path)
	local file = assert(io.open(path))
	local address, first, last = (file:read("l") or ""):match("^(%S+) (%d+) (%d+)$")
	file:close()
	if address == nil then
		error(path .. ": no line of ADDRESS FIRST-PORT LAST-PORT")
	end
	return address, tonumber(first), tonumber(last)
end

-- A range of its own for each field of a packet.
local function walk(set, first, last, step)
	set(FROM, "start", first)
	set(FROM, "min", first)
	set(FROM, "max", last)
	set(FROM, "inc", step)
end

local function set_up()
	local address, first, last = first_run(wanted("LEASES"))
	local range = pktgen.range

	pktgen.screen("off")
	pktgen.stop("all")
	range.dst_mac(FROM, "start", wanted("GATEWAY_MAC"))
	range.ip_proto(FROM, "udp") -- set_proto is for single packets, and a range is of TCP
	walk(range.dst_ip, address, address, "0.0.0.0")
	walk(range.dst_port, first, last, 1)
	walk(range.src_ip, "198.18.0.1", "198.18.3.232", "0.0.0.1")
	walk(range.src_port, 1024, 65535, 7)
	pktgen.set_range(FROM, "on")
end

-- Packets sent, and of these the share that did not come out of the tunnel port.
local function trial(rate, seconds)
	pktgen.clr()
	pktgen.set(FROM, "rate", rate)
	pktgen.start(FROM)
	pktgen.delay(seconds * 1000)
	pktgen.stop(FROM)
	pktgen.delay(1000)
	local sent = pktgen.portStats(FROM, "port")[tonumber(FROM)].opackets
	local received = pktgen.portStats(TO, "port")[tonumber(TO)].ipackets
	return sent, sent > 0 and math.max(0, 1 - received / sent) or 1
end

-- The highest rate that loses no more than that: packets a second, and per cent of the link.
local function search(seconds, loss)
	local low, high, best = 0, 100, 0

	for _ = 1, RATES do
		local rate = (low + high) / 2
		local sent, lost = trial(rate, seconds)
		if lost <= loss then
			low, best = rate, sent / seconds
		else
			high = rate
		end
	end
	return best, low
end

set_up()
print("bytes   Mpps  Gbit/s  link %")
for word in wanted("SIZES", "64 512 1420"):gmatch("%d+") do
	local size = tonumber(word)
	walk(pktgen.range.pkt_size, size + ETHER_BYTES, size + ETHER_BYTES, 0)
	local pps, rate = search(tonumber(wanted("SECONDS", "10")), tonumber(wanted("LOSS", "0")))
	print(string.format("%5d %6.3f %7.3f %7.2f", size, pps / 1e6, pps * size * 8 / 1e9, rate))
end
