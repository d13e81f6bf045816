// A probe's life: added with a try before, up while somebody listens, down and an incident when nobody does.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { signIn } from "../harness/account.mjs";
import { looks, suite } from "../harness/suite.mjs";

// The shortest interval is 10 s, and a loaded machine may need its time.
const LONG = { timeout: 60_000 };

const { story } = suite();

async function listen() {
  const server = createServer((socket) => socket.destroy());
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: String(server.address().port), close: () => new Promise((resolve) => server.close(resolve)) };
}

async function fillIn(page, port, name) {
  await page.fill("[name=name]", name);
  await page.fill("[name=target]", "127.0.0.1");
  await page.fill("[name=port]", port);
  await page.fill("[name=interval_s]", "10");
  await page.fill("[name=failures]", "1");
  await page.fill("[name=successes]", "1");
}

story("a probe is tried, added, up, and down with an incident when the listener closes", async (given) => {
  const { page, visit, look, expect } = given;
  expect(/status of 4\d\d/);
  await signIn(given);
  const open = await listen();
  await visit("/probes");
  await page.getByText("No probe yet").waitFor();
  await page.getByRole("link", { name: "Add a probe" }).first().click();
  await fillIn(page, "0", "Shop door");
  await page.getByRole("button", { name: "Add the probe" }).click();
  await page.locator("[name=port][aria-invalid=true]").waitFor();
  await look();
  await fillIn(page, open.port, "Shop door");
  await page.getByRole("button", { name: /Try it now/ }).click();
  await page.getByText("Tried once: it answers").waitFor();
  await look();
  await looks(page, "probe form");
  await page.getByRole("button", { name: "Add the probe" }).click();
  await page.locator("#toasts", { hasText: "Shop door is added" }).waitFor();
  const path = new URL(page.url()).pathname;
  await page.getByRole("cell", { name: "up", exact: true }).first().waitFor(LONG);
  await look();
  await open.close();
  await page.getByText("It is told of since").waitFor(LONG);
  await page.getByRole("cell", { name: "down", exact: true }).first().waitFor(LONG);
  await look();
  await looks(page, "probe down");
  for (const shown of ["/probes", "/incidents"]) {
    await visit(shown);
    await page.getByText("Shop door").first().waitFor(LONG);
    await looks(page, shown.slice(1));
  }
  await page.locator('main a[href^="/incidents/"]', { hasText: "INC-" }).first().click();
  await page.getByText("the connection is refused").first().waitFor();
  await look();
  await looks(page, "probe incident");
  assert.match(path, /^\/probes\/\d+$/);
});

for (const [name, options] of [["on a phone", { window: "phone" }], ["in the dark", { dark: true }]]) {
  story(`pages of probes are whole ${name}`, options, async (given) => {
    const { page, visit } = given;
    await signIn(given);
    for (const path of ["/probes", "/probes/new?kind=http", "/probes/new?kind=dns", "/probes/1", "/probes/1/edit"]) {
      await visit(path);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      assert.ok(!wide, `${path} scrolls sideways`);
    }
  });
}

story("a host refuses a probe that its owner did not allow, and the page has the line to add", async (given) => {
  const { page, visit, look } = given;
  await signIn(given);
  await visit("/probes/new?kind=tcp");
  await fillIn(page, "5432", "Own door");
  const runner = await page.locator("[name=run_by] option[value^='host:']").first().getAttribute("value");
  await page.selectOption("[name=run_by]", runner);
  await page.getByRole("button", { name: "Add the probe" }).click();
  await page.locator("#toasts", { hasText: "Own door is added" }).waitFor();
  await page.getByText('allow = ["127.0.0.1:5432"]').waitFor(LONG);
  await look();
  await looks(page, "probe refused");
});
