-- SPDX-License-Identifier: Apache-2.0 OR MIT
--
-- A Wireshark dissector of RFC 6618: packets between mobile nodes and home agents in UDP.
--
--   tshark -X lua_script:hearth.lua -r capture.pcapng
--   wireshark -X lua_script:hearth.lua capture.pcapng
--
-- or copied into Wireshark's folder of personal Lua plugins (Help, About, Folders).
--
-- What is in the clear is shown whole: PType 0, NULL_SHA, and packets that a tool has decrypted in
-- place, without IV and ICV. Mobility Headers and inner packets go to Wireshark's own dissectors.

local p_hearth = Proto("hearth", "Mobile IPv6 in UDP (RFC 6618)")

local PTYPES = {
  [0] = "Data, unprotected",
  [1] = "Data",
  [8] = "Mobility Header",
}
local MOBILITY_HEADER = 8
local HEADER = 8
-- RFC 8200 s.4.1: what may follow the IPv6 header in front of a Mobility Header.
local NEXT_HEADERS = {
  [4] = "IPv4",
  [41] = "IPv6",
  [43] = "Routing Header",
  [60] = "Destination Options",
  [135] = "Mobility Header",
}

local f = {
  ptype = ProtoField.uint32("hearth.ptype", "PType", base.DEC, PTYPES, 0xf0000000),
  spi = ProtoField.uint32("hearth.spi", "SPI", base.HEX, nil, 0x0fffffff),
  seq = ProtoField.uint32("hearth.seq", "Sequence Number", base.DEC),
  protected = ProtoField.bytes("hearth.protected", "Protected"),
  iv = ProtoField.bytes("hearth.iv", "IV"),
  pad = ProtoField.bytes("hearth.pad", "Padding"),
  pad_len = ProtoField.uint8("hearth.pad_len", "Pad Length", base.DEC),
  next_header = ProtoField.uint8("hearth.next_header", "Next Header", base.DEC, NEXT_HEADERS),
  icv = ProtoField.bytes("hearth.icv", "ICV"),
  keepalive = ProtoField.bool("hearth.keepalive", "NAT keepalive"),
}
p_hearth.fields = f

local e_short = ProtoExpert.new(
  "hearth.short", "Shorter than the header of RFC 6618 s.6.2", expert.group.MALFORMED,
  expert.severity.ERROR)
local e_ptype = ProtoExpert.new(
  "hearth.ptype.unknown", "PType that nobody has registered (RFC 6618 s.8.1)",
  expert.group.PROTOCOL, expert.severity.WARN)
local e_plain = ProtoExpert.new(
  "hearth.plain.not_zero", "SPI and sequence number of unprotected data are zero (RFC 6618 s.6.4)",
  expert.group.PROTOCOL, expert.severity.WARN)
p_hearth.experts = { e_short, e_ptype, e_plain }

p_hearth.prefs.port = Pref.uint("UDP port", 7872, "The port of the home agent")

local ipv4 = Dissector.get("ip")
local ipv6 = Dissector.get("ipv6")

-- Octets that an IP packet at `at` says it has; nil where there is none.
local function length_of_packet(tvb, at, room)
  if room < 20 then return nil end
  local version = bit.rshift(tvb(at, 1):uint(), 4)
  if version == 4 then return tvb(at + 2, 2):uint() end
  if version == 6 and room >= 40 then return 40 + tvb(at + 4, 2):uint() end
  return nil
end

-- Octets of the extension headers and the Mobility Header at `at`, the first of them of kind `kind`;
-- nil where it is not that.
local function length_of_signalling(tvb, at, room, kind)
  local used = 0
  while kind == 60 or kind == 43 do
    if used + 8 > room then return nil end
    local following = tvb(at + used, 1):uint()
    used = used + 8 * (1 + tvb(at + used + 1, 1):uint())
    kind = following
  end
  if kind ~= 135 or used + 8 > room then return nil end
  return used + 8 * (1 + tvb(at + used + 1, 1):uint())
end

-- The trailer in front of an ICV of `icv` octets, if padding, lengths and Next Header agree with what
-- stands between an IV of `iv` octets and it. Ciphertext passes for that once in 2^30 packets or so.
local function opened(tvb, ptype, iv, icv)
  local last = tvb:len() - icv
  local start = HEADER + iv
  if last - 2 < start then return nil end
  local pad_len = tvb(last - 2, 1):uint()
  local next_header = tvb(last - 1, 1):uint()
  local payload = last - 2 - pad_len - start
  if payload <= 0 then return nil end
  for i = 1, pad_len do
    if tvb(last - 2 - pad_len + i - 1, 1):uint() ~= i then return nil end
  end
  local said
  if ptype == MOBILITY_HEADER then
    said = length_of_signalling(tvb, start, payload, next_header)
  elseif next_header == 4 or next_header == 41 then
    said = length_of_packet(tvb, start, payload)
  end
  if said ~= payload then return nil end
  return { start = start, iv = iv, payload = payload, pad_len = pad_len, icv = icv,
    next_header = next_header }
end

-- Octets of IV and ICV: an opened capture; NULL_SHA.
local IN_THE_CLEAR = { { 0, 0 }, { 0, 12 } }

local function look_inside(tvb, ptype)
  for _, lengths in ipairs(IN_THE_CLEAR) do
    local found = opened(tvb, ptype, lengths[1], lengths[2])
    if found then return found end
  end
  return nil
end

-- An address as the 16 octets of one of IPv6.
local function as_ipv6(address)
  local text = tostring(address)
  local octets = ByteArray.new()
  if text:find(":") == nil then
    octets:set_size(16)
    octets:set_index(10, 0xff)
    octets:set_index(11, 0xff)
    local i = 12
    for part in text:gmatch("%d+") do
      octets:set_index(i, tonumber(part))
      i = i + 1
    end
    return octets
  end
  local left, right = text, ""
  local gap = text:find("::", 1, true)
  if gap then left, right = text:sub(1, gap - 1), text:sub(gap + 2) end
  local function groups(part)
    local list = {}
    for group in part:gmatch("%x+") do list[#list + 1] = tonumber(group, 16) end
    return list
  end
  local front, back = groups(left), groups(right)
  octets:set_size(16)
  local function put(list, first)
    for i, group in ipairs(list) do
      octets:set_index(first + 2 * (i - 1), bit.rshift(group, 8))
      octets:set_index(first + 2 * (i - 1) + 1, bit.band(group, 0xff))
    end
  end
  put(front, 0)
  put(back, 16 - 2 * #back)
  return octets
end

-- The packet that PType 8 stands for: an IPv6 header from and to the outer addresses in front of the
-- extension headers and the Mobility Header.
local function signalling(tvb, pinfo, inside)
  local packet = ByteArray.new("60000000")
  local rest = ByteArray.new()
  rest:set_size(4)
  rest:set_index(0, bit.rshift(inside.payload, 8))
  rest:set_index(1, bit.band(inside.payload, 0xff))
  rest:set_index(2, inside.next_header)
  rest:set_index(3, 64)
  packet = packet .. rest .. as_ipv6(pinfo.net_src) .. as_ipv6(pinfo.net_dst)
    .. tvb(inside.start, inside.payload):bytes()
  return packet:tvb("Mobility Header without UDP")
end

local function show_inside(tvb, pinfo, tree, root, ptype, inside)
  if inside.iv > 0 then tree:add(f.iv, tvb(HEADER, inside.iv)) end
  local trailer = inside.start + inside.payload
  if inside.pad_len > 0 then tree:add(f.pad, tvb(trailer, inside.pad_len)) end
  tree:add(f.pad_len, tvb(trailer + inside.pad_len, 1))
  tree:add(f.next_header, tvb(trailer + inside.pad_len + 1, 1))
  if inside.icv > 0 then tree:add(f.icv, tvb(tvb:len() - inside.icv, inside.icv)) end
  if ptype == MOBILITY_HEADER then
    ipv6:call(signalling(tvb, pinfo, inside), pinfo, root)
  else
    local inner = tvb(inside.start, inside.payload):tvb()
    local dissector = inside.next_header == 4 and ipv4 or ipv6
    dissector:call(inner, pinfo, root)
  end
end

local function show_plain(tvb, pinfo, tree, root)
  if tvb(0, HEADER):bytes() ~= ByteArray.new("0000000000000000") then
    tree:add_proto_expert_info(e_plain)
  end
  local room = tvb:len() - HEADER
  local said = length_of_packet(tvb, HEADER, room)
  if said == nil then return end
  local inner = tvb(HEADER):tvb()
  local version = bit.rshift(tvb(HEADER, 1):uint(), 4)
  local dissector = version == 4 and ipv4 or ipv6
  dissector:call(inner, pinfo, root)
end

function p_hearth.dissector(tvb, pinfo, root)
  pinfo.cols.protocol = "Hearth"
  local tree = root:add(p_hearth, tvb())
  -- RFC 3948 s.2.3: a single octet keeps the NAT's mapping.
  if tvb:len() == 1 and tvb(0, 1):uint() == 0xff then
    tree:add(f.keepalive, tvb(0, 1), true)
    pinfo.cols.info = "NAT keepalive"
    return
  end
  if tvb:len() < HEADER then
    tree:add_proto_expert_info(e_short)
    pinfo.cols.info = "Too short"
    return
  end
  local ptype = bit.rshift(tvb(0, 1):uint(), 4)
  tree:add(f.ptype, tvb(0, 4))
  tree:add(f.spi, tvb(0, 4))
  tree:add(f.seq, tvb(4, 4))
  local spi = bit.band(tvb(0, 4):uint(), 0x0fffffff)
  local name = PTYPES[ptype]
  if name == nil then tree:add_proto_expert_info(e_ptype) end
  local info = string.format("%s, SPI 0x%07x, Seq %u", name or "PType " .. ptype, spi,
    tvb(4, 4):uint())
  tree:append_text(", " .. info)
  pinfo.cols.info = info
  if ptype == 0 then
    show_plain(tvb, pinfo, tree, root)
  else
    local inside = look_inside(tvb, ptype)
    if inside then
      show_inside(tvb, pinfo, tree, root, ptype, inside)
    elseif tvb:len() > HEADER then
      tree:add(f.protected, tvb(HEADER))
    end
  end
end

local ports = DissectorTable.get("udp.port")
local port_now = 0

local function listen()
  local wanted = p_hearth.prefs.port
  if port_now == wanted then return end
  if port_now > 0 then ports:remove(port_now, p_hearth) end
  if wanted > 0 then ports:add(wanted, p_hearth) end
  port_now = wanted
end

p_hearth.prefs_changed = listen
listen()
