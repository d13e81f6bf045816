// What an attacker calls a process: shown as it is, and nothing comes of it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before } from "node:test";
import { suite } from "../harness/suite.mjs";

const PASSWORD = "a long enough pass phrase";
// The kernel keeps 15 bytes as the short name, and all of it as the command line.
const TITLE = `<img src=x onerror="globalThis.hit=1;fetch('//127.0.0.2:9/')"><script>globalThis.hit=1</script>`;
const SHORT = TITLE.slice(0, 15);
const LIMIT = 60_000;

const { story } = suite();

let child;
before(() => {
  // Works and holds memory, so that it is among the processes that are shown; ends when this process does.
  const program = `
    const held = Buffer.alloc(400 << 20, 1);
    process.title = process.argv[1];
    process.stdin.on("end", () => process.exit()).resume();
    const work = () => { for (const end = Date.now() + 60; Date.now() < end; held[0]++); setTimeout(work, 40); };
    work();`;
  child = spawn(process.execPath, ["-e", program, TITLE], { stdio: ["pipe", "ignore", "inherit"] });
});
after(() => child?.stdin.end());

story("what a process is called makes no element and asks nobody", async ({ page, visit, controller, look }) => {
  const [, code] = await controller.match(/Setup code (\S+)/);
  await visit("/setup");
  await page.fill("[name=code]", code);
  await page.fill("[name=username]", "ann");
  for (const field of await page.locator("input[type=password]").all()) await field.fill(PASSWORD);
  await page.click("form button");
  await page.waitForURL((url) => url.pathname === "/");
  const me = async () => {
    const hosts = (await (await page.request.get("/api/v1/hosts")).json()).items ?? [];
    return hosts[0]?.id;
  };
  let id;
  for (const end = Date.now() + LIMIT; !(id = await me()) && Date.now() < end; ) await page.waitForTimeout(200);
  assert.ok(id, "there is a host");

  // Once as the page comes from the server, once as live events change it.
  let shown;
  for (const end = Date.now() + LIMIT; Date.now() < end; await page.waitForTimeout(500)) {
    await page.goto(`/hosts/${id}`);
    shown = await page.getByText(SHORT).first().isVisible();
    if (shown) break;
  }
  assert.ok(shown, `the page names ${SHORT}`);
  await page.waitForTimeout(3_000);
  await look();
  const found = await page.evaluate(() => ({
    hit: "hit" in globalThis,
    elements: document.querySelectorAll("img[src=x], [onerror]").length,
    scripts: [...document.scripts].filter((script) => script.textContent.includes("hit=1")).length,
  }));
  assert.deepEqual(found, { hit: false, elements: 0, scripts: 0 });

  // The API gives it as the text that it is.
  const answer = await page.request.get(`/api/v1/hosts/${id}/processes`);
  assert.ok(answer.ok(), `${answer.status()}`);
  assert.match(answer.headers()["content-type"], /json/);
});
