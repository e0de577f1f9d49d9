// The dashboard: rates from counters each second, events as they come. Everything that comes from
// outside is put in as text: an mn-id is what a stranger chose.
"use strict";

const SECONDS = 120;
const ROWS = 100;
const EVENTS = 100;
const by = (id) => document.getElementById(id);

// Elements and text.
function element(name, text, more = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return Object.assign(made, more);
}

function fill(parent, children) {
  parent.replaceChildren(...children);
}

function rows(table, cells) {
  const body = by(table).tBodies[0];
  fill(body, cells.map((row) => {
    const line = element("tr");
    line.append(...row.map((cell) => {
      const place = element("td");
      place.append(cell);
      return place;
    }));
    return line;
  }));
}

function facts(list, pairs) {
  fill(by(list), pairs.map(([name, value]) => {
    const group = element("div");
    group.append(element("dt", name), element("dd", value));
    return group;
  }));
}

// Numbers.
function amount(number) {
  for (const [unit, name] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (number >= unit) return `${(number / unit).toFixed(2)} ${name}`;
  }
  return number.toFixed(0);
}

const whole = (number) => number.toLocaleString("en");

function duration(seconds) {
  const [days, hours, minutes] = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60].map(Math.floor);
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

// Charts.
const history = { up: [], down: [], drop: [] };

function remember(name, value) {
  history[name].push(value);
  if (history[name].length > SECONDS) history[name].shift();
}

function chart(id, scale, names) {
  const most = Math.max(1, ...names.flatMap((name) => history[name]));
  by(scale).textContent = `at most ${amount(most)}`;
  fill(by(id), names.map((name) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    const values = history[name];
    const point = (value, at) =>
      `${600 - (values.length - 1 - at) * (600 / (SECONDS - 1))},${156 - (value / most) * 150}`;
    line.setAttribute("class", name);
    line.setAttribute("points", values.map(point).join(" "));
    return line;
  }));
  const now = names.map((name) => `${name} ${amount(history[name].at(-1) ?? 0)}`).join(", ");
  by(id).setAttribute("aria-label", `The last two minutes, at most ${amount(most)}; now ${now}`);
}

// What the daemon says.
let before = null;

function showStatus(status) {
  by("name").textContent = status.home_agent;
  const draining = status.draining ? ", draining" : "";
  by("facts").textContent = `hearthd ${status.version}, up ${duration(status.uptime)}${draining}`;
  document.title = status.alarms.length > 0 ? `(!) Hearth ${status.home_agent}` : `Hearth ${status.home_agent}`;
  by("alarms").hidden = status.alarms.length === 0;
  // Only where it changes, so that nobody hears it each second.
  if (by("alarm-list").dataset.text !== status.alarms.join("\n")) {
    by("alarm-list").dataset.text = status.alarms.join("\n");
    fill(by("alarm-list"), status.alarms.map((text) => element("li", text)));
  }
  // A daemon that was started again counts from 0.
  if (before !== null && status.uptime >= before.uptime) {
    const seconds = Math.max(0.001, (status.time_ms - before.time_ms) / 1000);
    const rate = (now, then) => Math.max(0, now - then) / seconds;
    remember("up", 8 * rate(status.uplink.octets, before.uplink.octets));
    remember("down", 8 * rate(status.downlink.octets, before.downlink.octets));
    remember("drop", rate(status.dropped, before.dropped));
    by("up-now").textContent = amount(history.up.at(-1));
    by("down-now").textContent = amount(history.down.at(-1));
    by("drop-now").textContent = amount(history.drop.at(-1));
    chart("chart-traffic", "scale-traffic", ["up", "down"]);
    chart("chart-drops", "scale-drops", ["drop"]);
  }
  before = status;
  const mbufs = status.mbufs_in_use + status.mbufs_available;
  facts("figures", [
    ["Bindings", `${whole(status.bindings)} of ${whole(status.bindings_max)}`],
    ["SAs", whole(status.sas)],
    ["Routes", whole(status.routes)],
    ["Packet buffers", `${whole(status.mbufs_in_use)} of ${whole(mbufs)}`],
    ["Out of tunnels", `${whole(status.uplink.packets)} packets`],
    ["Into tunnels", `${whole(status.downlink.packets)} packets`],
    ["Routed", `${whole(status.forwarded.packets)} packets`],
    ["Signalling", `${whole(status.signalling_in)} in, ${whole(status.signalling_out)} out`],
  ]);
}

function showWorkers(workers) {
  rows("workers", workers.map((row) => {
    const used = element("span");
    const percent = `${Math.round(row.utilisation * 100)} %`;
    const meter = element("meter", percent, { min: 0, max: 1, high: 0.8, value: row.utilisation });
    meter.setAttribute("aria-label", `Worker ${row.worker} used`);
    used.append(meter, ` ${row.stuck_ms === null ? percent : `stuck for ${row.stuck_ms} ms`}`);
    const cycles = row.cycles_per_packet === null ? "-" : row.cycles_per_packet.toFixed(0);
    return [String(row.worker), String(row.core), used, cycles];
  }));
}

function showDrops(drops) {
  const some = drops.filter((row) => row.packets > 0).sort((one, other) => other.packets - one.packets);
  by("drops").hidden = some.length === 0;
  by("drops-none").hidden = some.length > 0;
  rows("drops", some.map((row) => [row.reason, whole(row.packets), `${row.description} ${row.remedy}`]));
}

async function get(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

// Bindings.
async function showBindings() {
  const search = by("search").value.trim();
  const list = await get(`/v1/bindings?${new URLSearchParams({ search, count: ROWS })}`);
  if (search !== by("search").value.trim()) return;
  list.sort((one, other) => one.mn_id.localeCompare(other.mn_id));
  const focused = document.activeElement?.dataset?.node;
  rows("bindings", list.map((row) => {
    const open = element("button", row.mn_id, { type: "button" });
    open.dataset.node = row.mn_id;
    open.addEventListener("click", () => openLife(row.mn_id));
    const home = [row.home_address, row.ipv4_home_address].filter(Boolean).join(", ");
    return [open, home, row.care_of_address, row.nat ? "yes" : "no", `${row.remaining} s`];
  }));
  if (focused !== undefined) {
    [...document.querySelectorAll("#bindings button")].find((it) => it.dataset.node === focused)?.focus();
  }
  by("bindings-note").textContent =
    list.length === ROWS ? `The first ${ROWS}; search for others.` : list.length === 0 ? "None." : "";
}

// One mobile node's life.
let alive = null;

async function openLife(node) {
  alive = node;
  await showLife();
  by("life").hidden = false;
  by("life-head").focus();
}

function closeLife() {
  const node = alive;
  alive = null;
  by("life").hidden = true;
  const back = [...document.querySelectorAll("#bindings button")].find((it) => it.dataset.node === node);
  (back ?? by("search")).focus();
}

async function showLife() {
  if (alive === null) return;
  const life = await get(`/v1/mobile-nodes/${encodeURIComponent(alive)}`);
  by("life-head").textContent = life.mn_id;
  const path = life.bindings.map((row) => `${row.care_of_address} port ${row.care_of_port}${row.nat ? ", NAT" : ""}`);
  const sas = life.sas.map((row) => `SPI ${row.spi}, ${row.suite}, ${row.state}, ${whole(row.packets_in)} in, ${whole(row.packets_out)} out`);
  facts("life-facts", [
    ["Home address", life.bindings.map((row) => row.home_address).join(", ") || "none bound"],
    ["Path", path.join("; ") || "none"],
    ["SAs", sas.join("; ") || "none"],
    ["Handovers", whole(life.handovers)],
    ["Refused", whole(life.refused)],
  ]);
  fill(by("life-events"), life.events.toReversed().map((event) => eventLine(event, false)));
}

// Events.
const WORDS = {
  registered: (it) => `registered at ${it.care_of_address} port ${it.care_of_port} for ${it.lifetime} s`,
  handed_over: (it) => `handed over from ${it.old_care_of_address} to ${it.care_of_address} port ${it.care_of_port}`,
  binding_ended: (it) => `binding ended: ${it.why}`,
  care_of_ended: (it) => `care-of address with BID ${it.bid} is gone`,
  revoked: () => "binding revoked",
  unreachable: () => "does not answer Heartbeats",
  restarted: () => "was restarted",
  refused: (it) => `Binding Update refused: ${it.why}`,
  sa_provisioned: (it) => `SA with SPI ${it.spi} provisioned, ${it.suite}`,
  sa_ended: (it) => `SA with SPI ${it.spi} ended: ${it.why}`,
  alarm: (it) => `alarm: ${it.text}`,
  alarm_ended: (it) => `alarm over: ${it.text}`,
};

function eventLine(event, withName) {
  const at = new Date(event.time_ms);
  const time = element("time", at.toLocaleTimeString("en-GB"), { dateTime: at.toISOString() });
  const words = (WORDS[event.event] ?? (() => event.event))(event);
  const line = element("li", undefined, withName ? { className: "new" } : {});
  line.append(time, element("span", withName && event.mn_id ? `${event.mn_id} ${words}` : words));
  return line;
}

let soon = null;

function onEvent(message) {
  const event = JSON.parse(message.data);
  by("events").prepend(eventLine(event, true));
  while (by("events").childElementCount > EVENTS) by("events").lastElementChild.remove();
  // A storm of events is one look at the bindings.
  soon ??= setTimeout(async () => {
    soon = null;
    await Promise.allSettled([showBindings(), showLife()]);
  }, 200);
}

function live(is, text) {
  const place = by("live");
  if (place.textContent !== text) place.textContent = text;
  place.className = is ? "on" : "off";
}

async function look() {
  try {
    const [status, workers, drops] = await Promise.all(["/v1/status", "/v1/workers", "/v1/drops"].map(get));
    showStatus(status);
    showWorkers(workers);
    showDrops(drops);
    live(true, "Live");
  } catch {
    live(false, "hearthd does not answer; trying again");
  }
}

async function turn() {
  await look();
  setTimeout(turn, document.hidden ? 5000 : 1000);
}

async function often() {
  await Promise.allSettled([showBindings(), showLife()]);
  setTimeout(often, 5000);
}

by("find").addEventListener("submit", (event) => event.preventDefault());
by("search").addEventListener("input", () => showBindings().catch(() => {}));
by("life-close").addEventListener("click", closeLife);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && alive !== null) closeLife();
  if (event.key === "/" && document.activeElement !== by("search")) {
    event.preventDefault();
    by("search").focus();
  }
});
// It connects again by itself when the daemon comes back.
new EventSource("/v1/events").addEventListener("message", onEvent);
turn();
often();
