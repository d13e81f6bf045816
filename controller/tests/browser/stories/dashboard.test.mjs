// A person's way through the dashboard: set up, look at every page at every width, log out and in again.
import assert from "node:assert/strict";
import { looks, suite } from "../harness/suite.mjs";

const NAME = "ann";
const PASSWORD = "a long enough pass phrase";

const SETTINGS = ["automation", "maintenance", "users", "tokens", "enrolment"].map((page) => `/settings/${page}`);

const { story } = suite();

async function signIn({ page, visit }) {
  await visit("/login");
  await page.fill("[name=username]", NAME);
  await page.fill("[name=password]", PASSWORD);
  await page.click("form button");
  await page.waitForURL((url) => url.pathname === "/");
}

// The address of the one host that a fresh controller watches: its own machine.
async function hostPath(page) {
  await page.goto("/hosts");
  const link = page.locator('a[href^="/hosts/"]:not([href="/hosts/new"])').first();
  return new URL(await link.getAttribute("href"), page.url()).pathname;
}

story("the code from the console makes the first account, once", async ({ page, visit, controller, look, expect }) => {
  const [, code] = await controller.match(/Setup code (\S+)/);
  await visit("/");
  assert.equal(new URL(page.url()).pathname, "/setup");
  const fill = async (code) => {
    await page.fill("[name=code]", code);
    await page.fill("[name=username]", NAME);
    for (const field of await page.locator("input[type=password]").all()) await field.fill(PASSWORD);
    await page.click("form button");
  };
  expect(/status of 4\d\d/);
  await fill("AAAA-AAAA-AAAA");
  await page.locator("[aria-invalid=true]").first().waitFor();
  await look();
  await fill(code);
  await page.waitForURL((url) => url.pathname === "/");
  await look();
  const again = await page.request.get("/setup");
  assert.equal(again.status(), 404);
});

story("a wrong password is refused without saying what was wrong", async ({ page, visit, expect }) => {
  expect(/status of 4\d\d/);
  const answers = [];
  for (const name of [NAME, "nobody"]) {
    await visit("/login");
    await page.fill("[name=username]", name);
    await page.fill("[name=password]", "not the pass phrase");
    await page.click("form button");
    const alert = page.locator("p.c-crit").first();
    await alert.waitFor();
    answers.push(await alert.textContent());
  }
  assert.equal(answers[0], answers[1]);
});

for (const [name, options] of Object.entries({
  "on a desk": {},
  "in the dark": { dark: true },
  "on a phone": { window: "phone" },
})) {
  story(`every page is whole ${name}`, options, async ({ page, visit, look }) => {
    await signIn({ page, visit });
    const host = await hostPath(page);
    for (const path of ["/", "/hosts", host, "/incidents", "/approvals", "/runs", "/audit", "/hosts/new", ...SETTINGS]) {
      await visit(path);
      if (options.window === undefined && !options.dark) await looks(page, `page ${path}`);
      assert.equal(await page.locator("h1").count(), 1, `${path} has not one heading`);
      const links = await page.locator("a[href^='/']").evaluateAll((all) => all.map((a) => a.getAttribute("href")));
      for (const link of new Set(links)) {
        const answer = await page.request.get(link);
        assert.ok(answer.ok(), `${path} links to ${link}, which answers ${answer.status()}`);
      }
    }
    await visit(host);
    await page.locator("canvas").first().waitFor();
    await look();
  });
}

story("a user is added and disabled by keyboard alone, and each step is told", async ({ page, visit, look, expect }) => {
  expect(/status of 4\d\d/);
  await signIn({ page, visit });
  await visit("/settings/users");
  const type = async (name, text) => {
    await page.focus(`[name=${name}]`);
    await page.keyboard.type(text);
  };
  await type("name", "Bob the 2nd");
  await type("password", "short but long enough");
  await page.keyboard.press("Enter");
  await page.locator("[name=name][aria-invalid=true]").waitFor();
  await look();
  await looks(page, "users wrong name");
  await page.fill("[name=name]", "");
  await type("name", "bob");
  await type("password", "short but long enough");
  await page.keyboard.press("Enter");
  await page.locator("#toasts", { hasText: "bob can sign in as Viewer" }).waitFor();
  await looks(page, "users added");
  await page.getByRole("link", { name: "bob", exact: true }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Do not let it sign in" }).focus();
  await page.keyboard.press("Enter");
  await page.locator("#toasts", { hasText: "bob may not sign in any more" }).waitFor();
  await look();
  await looks(page, "user");
});

story("charts grow without a reload", async ({ page, visit }) => {
  await signIn({ page, visit });
  await page.goto(await hostPath(page));
  await page.locator("canvas").first().waitFor();
  const legend = page.locator("main").getByText(/CPU/).first();
  await legend.waitFor();
  const before = await page.locator("main").innerText();
  await page.waitForFunction((text) => document.querySelector("main").innerText !== text, before);
});

story("Add host shows one line with a token and the CA's fingerprint", async ({ page, visit, look, controller }) => {
  await signIn({ page, visit });
  await visit("/hosts/new");
  await page.getByRole("button", { name: /show the line/i }).click();
  const line = page.locator("code, pre, textarea").filter({ hasText: "sysop-agent enroll" }).first();
  await line.waitFor();
  const text = await line.textContent();
  assert.match(text, /--token-stdin/);
  assert.match(text, /--ca-fingerprint sha256:[0-9a-f]{64}/);
  const [, fingerprint] = await controller.match(/CA (sha256:[0-9a-f]{64})/);
  assert.ok(text.includes(fingerprint));
  await look();
});

story("who logs out is out, and comes back with the password", async ({ page, visit, context }) => {
  await signIn({ page, visit });
  await page.evaluate(() => document.querySelector('form[action="/logout"]').requestSubmit());
  await page.waitForURL((url) => url.pathname === "/login");
  await page.goto("/hosts");
  assert.equal(new URL(page.url()).pathname, "/login");
  assert.deepEqual((await context.cookies()).filter((cookie) => cookie.value.length > 30), []);
  await signIn({ page, visit });
});
