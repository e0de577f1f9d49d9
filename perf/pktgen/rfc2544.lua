-- RFC 2544 throughput with Pktgen-DPDK: the highest rate at which a trial loses nothing, by halving.
--
-- What is sent is the capture that pktgen.sh has loaded. Environment:
--   SENDER   the port that sends (set by pktgen.sh); the other one receives
--   PACKETS  packets of a trial. Uplink no more than the capture has: what comes round is a replay
--   ONCE     set: one trial at RATE percent, for uplink captures, which are good for one trial
--   RATE     percent of line rate of that trial
package.path = package.path .. ";?.lua;test/?.lua;app/?.lua;"
require "Pktgen"

local sender = tonumber(os.getenv("SENDER") or "0")
local receiver = 1 - sender
local packets = tonumber(os.getenv("PACKETS") or "1000000")
local steps = 10
-- A trial that takes longer is ended.
local longest_ms = 120000
-- RFC 2544 s.23: residual frames get two seconds.
local residue_ms = 2000

local function counted(port, what)
  return pktgen.portStats("all", "port")[port][what]
end

-- Sends all packets at this percentage of line rate; how many did not come back.
local function trial(rate)
  pktgen.clr()
  pktgen.set(tostring(sender), "count", packets)
  pktgen.set(tostring(sender), "rate", rate)
  pktgen.delay(200)
  pktgen.start(tostring(sender))
  local waited_ms = 0
  repeat
    pktgen.delay(100)
    waited_ms = waited_ms + 100
  until counted(sender, "opackets") >= packets or waited_ms >= longest_ms
  pktgen.stop(tostring(sender))
  pktgen.delay(residue_ms)
  local sent, received = counted(sender, "opackets"), counted(receiver, "ipackets")
  local lost = sent - received
  printf("%7.3f %% of line rate: %d sent, %d received, %d lost\n", rate, sent, received, lost)
  return lost
end

pktgen.page("stats")
if os.getenv("ONCE") then
  trial(tonumber(os.getenv("RATE") or "10"))
else
  local low, high = 0.0, 100.0
  for _ = 1, steps do
    local rate = (low + high) / 2
    if trial(rate) <= 0 then low = rate else high = rate end
  end
  printf("throughput: %7.3f %% of line rate, to within %.3f\n", low, high - low)
end
