// A repair on real hosts as a person sees it. `cargo test --test hosts` boots them, makes nginx fail and starts this.
import assert from "node:assert/strict";
import { looks, suite } from "../harness/suite.mjs";

// `url`, `code` for the first account, and for each host `name`, `incident` and `run`.
const { url, code, allowed, forbidden } = JSON.parse(process.env.SYSOP_STORY);

const NAME = "ann";
const PASSWORD = "a long enough pass phrase";
// From the click to the end of the check on the host.
const REPAIR = { timeout: 60_000 };

const { story } = suite({ start: async () => ({ url, stop() {} }) });

// From the inbox to the page of the run, by click.
async function approve({ page, look, visit }, { name, incident, run }) {
  await visit("/approvals");
  await page.locator(`a.item[href="/approvals/${run}"]`).click();
  await page.waitForURL(`**/approvals/${run}`);
  await page.locator("#chosen", { hasText: name }).waitFor();
  assert.match(await page.locator("main").innerText(), /Restart nginx\.service/);
  assert.equal(await page.locator(`main a[href="/incidents/${incident}"]`).count() > 0, true);
  await look();
  await looks(page, `approval ${name}`);
  await page.getByRole("button", { name: `Approve: restart nginx.service on ${name}` }).first().click();
  await page.waitForURL(`**/runs/${run}`);
}

story("what waits in the inbox is approved by a click, runs, is verified, and closes its incident", async (tools) => {
  const { page, visit, look, context } = tools;
  await visit("/setup");
  await page.fill("[name=code]", code);
  await page.fill("[name=username]", NAME);
  for (const field of await page.locator("input[type=password]").all()) await field.fill(PASSWORD);
  await page.click("form button");
  await page.waitForURL((at) => at.pathname === "/");
  await look();
  await looks(page, "overview");

  // The incident stays open in a tab of its own, which is not touched again.
  const incident = await context.newPage();
  await incident.goto(`/incidents/${allowed.incident}`);
  await incident.locator("h1", { hasText: "nginx.service" }).waitFor();
  await incident.locator("#repair").waitFor();
  await looks(incident, "incident open");
  await incident.evaluate(() => (globalThis.sameDocument = true));

  await approve(tools, allowed);
  await page.evaluate(() => (globalThis.sameDocument = true));
  await page.locator(".head .chip", { hasText: /^verified$/ }).waitFor(REPAIR);
  const output = await page.locator("section[aria-labelledby=output] pre").innerText();
  assert.match(output, /before: failed.*\nafter: active/);
  for (const step of [/approved by ann/i, /started|running/i, /verified/i]) {
    await page.locator("section[aria-labelledby=steps] .tl", { hasText: step }).waitFor();
  }
  assert.equal(await page.evaluate(() => globalThis.sameDocument), true, "the run's page was loaded again");
  await look();
  await looks(page, "run verified");

  await incident.locator(".ihead .chip", { hasText: /^Closed/ }).waitFor(REPAIR);
  assert.equal(await incident.evaluate(() => globalThis.sameDocument), true, "the incident's page was loaded again");
  assert.equal(await incident.getByRole("button", { name: /^Approve/ }).count(), 0);
  await looks(incident, "incident closed");
});

story("what the host's owner does not allow is refused there, with the lines to add", async (tools) => {
  const { page, visit, look } = tools;
  await visit("/login");
  await page.fill("[name=username]", NAME);
  await page.fill("[name=password]", PASSWORD);
  await page.click("form button");
  await page.waitForURL((at) => at.pathname === "/");
  await approve(tools, forbidden);
  await page.getByText(`${forbidden.name} refused the order. Nothing ran.`).waitFor(REPAIR);
  const lines = await page.locator("#remedy").innerText();
  for (const line of ["[[allow]]", 'action = "restart_service"', 'units = ["nginx.service"]']) {
    assert.ok(lines.includes(line), `the lines to add lack ${line}: ${lines}`);
  }
  await page.getByText("/etc/sysop/policy.toml").first().waitFor();
  await page.getByText("Nothing has run.").waitFor();
  await look();
  await looks(page, "run refused");
});
