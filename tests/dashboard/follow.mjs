// Looks at the dashboard in headless Chromium while a mobile node moves: reads lines of JSON on standard
// input, {"do": STEP, ...}, and answers each with {"done": STEP} or an error. dashboard.rs of the
// end-to-end tests tells it when the mobile node has moved.
import { mkdtempSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const PATIENCE = 10_000;
const [url, pictures] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const profile = mkdtempSync(join(tmpdir(), "hearth-dashboard-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  viewport: { width: 1200, height: 900 },
  bypassCSP: false,
});
const page = await browser.newPage();
page.setDefaultTimeout(PATIENCE);
const complaints = [];
page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
page.on("pageerror", (error) => complaints.push(String(error)));

function check(is, words) {
  if (!is) throw new Error(words);
}

// What a screen reader's user would miss, in the colours of `scheme`.
async function accessible(scheme) {
  await page.emulateMedia({ colorScheme: scheme });
  const found = await page.evaluate(async (script) => {
    // The policy of the page forbids scripts of others in it; this one comes by the browser's own door.
    (0, eval)(script);
    return (await globalThis.axe.run()).violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).join(" ")}`);
  }, axe).catch(async () => {
    // Where even that is forbidden: a world of its own.
    const session = await page.context().newCDPSession(page);
    const { frameTree } = await session.send("Page.getFrameTree");
    const { executionContextId: contextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id });
    await session.send("Runtime.evaluate", { expression: axe, contextId });
    const { result } = await session.send("Runtime.evaluate", {
      expression: "axe.run().then((done) => done.violations.map((it) => it.id + ': ' + it.nodes.map((node) => node.html).join(' ')))",
      contextId, awaitPromise: true, returnByValue: true,
    });
    return result.value;
  });
  check(Array.isArray(found) && found.length === 0, `${scheme}: ${JSON.stringify(found)}`);
}

const steps = {
  async open({ node, at }) {
    await page.goto(url);
    await page.getByRole("status").filter({ hasText: "Live" }).waitFor();
    const row = page.getByRole("row").filter({ hasText: node });
    await row.filter({ hasText: at }).waitFor();
  },
  // By the keyboard alone: search, open one mobile node's life.
  async life({ node }) {
    await page.keyboard.press("/");
    await page.keyboard.type(node.slice(0, 8).toUpperCase());
    await page.keyboard.press("Tab");
    await page.getByRole("button", { name: node }).waitFor();
    for (let tries = 0; tries < 5; tries++) {
      if (await page.evaluate((name) => document.activeElement.textContent === name, node)) break;
      await page.keyboard.press("Tab");
    }
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: node }).waitFor();
    check(await page.evaluate(() => document.activeElement.id === "life-head"), "the life has no focus");
    await page.locator("#life-events").getByText("registered at").waitFor();
  },
  // Nothing is loaded anew: the page hears of it.
  async moved({ to }) {
    await page.locator("#events").getByText(/handed over from .* to/).first().waitFor();
    await page.locator("#life-events").getByText("handed over").first().waitFor();
    await page.getByRole("row").filter({ hasText: to }).waitFor();
  },
  async traffic() {
    await page.waitForFunction(() => document.getElementById("up-now").textContent !== "0");
    await page.waitForFunction(() => document.querySelectorAll("#chart-traffic polyline").length === 2);
  },
  async pictures() {
    for (const scheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.evaluate(() => scrollTo(0, 0));
      await page.screenshot({ path: join(pictures, `dashboard-${scheme}.png`), fullPage: true });
    }
    await page.setViewportSize({ width: 390, height: 844 });
    check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "wider than a telephone");
    await page.screenshot({ path: join(pictures, "dashboard-narrow.png"), fullPage: true });
    await page.setViewportSize({ width: 1200, height: 900 });
    await page.keyboard.press("Escape");
    check(await page.locator("#life").isHidden(), "Escape does not close");
  },
  async accessible() {
    await accessible("light");
    await accessible("dark");
  },
  async gone() {
    await page.getByRole("status").filter({ hasText: "does not answer" }).waitFor();
  },
  async back() {
    await page.getByRole("status").filter({ hasText: "Live" }).waitFor({ timeout: 30_000 });
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const step = JSON.parse(line);
  try {
    await steps[step.do](step);
    console.log(JSON.stringify({ done: step.do }));
  } catch (error) {
    console.log(JSON.stringify({ failed: step.do, why: String(error), page: await page.locator("body").innerText(), complaints }));
  }
}
await browser.close();
