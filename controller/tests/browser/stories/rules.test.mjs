// A rule's life: made from a row of the host's page, seen in the table of coverage, explained, tried on the past.
import assert from "node:assert/strict";
import { signIn } from "../harness/account.mjs";
import { looks, suite } from "../harness/suite.mjs";

// The first samples, the first look and a loaded machine may need their time.
const LONG = { timeout: 60_000 };

const { story } = suite();

story("ten rules are on from the first minute, and each cell of the coverage says why", async (given) => {
  const { page, visit, look } = given;
  await signIn(given);
  await visit("/rules");
  await page.getByText("A file system is above 95 %").first().waitFor();
  await look();
  await looks(page, "rules");
  await visit("/rules/coverage");
  await look();
  await looks(page, "coverage");
  await page.locator('main a[href*="/hosts/"]').first().waitFor(LONG);
  const why = page.locator('main a[href^="/rules/"][href*="/hosts/"]').first();
  await why.waitFor(LONG);
  await why.click();
  await look();
  await looks(page, "why");
});

story("a rule is refused with its column, made, fires, and its incident says so", async (given) => {
  const { page, visit, look, expect } = given;
  expect(/status of 4\d\d/);
  await signIn(given);
  await visit("/rules/new");
  await page.fill("[name=name]", "A machine that is up");
  await page.fill("[name=when]", "load.1 >");
  await page.fill("[name=for_s]", "0");
  await page.fill("[name=keep_s]", "0");
  await page.getByRole("button", { name: "Save the rule" }).click();
  await page.locator("[name=when][aria-invalid=true]").waitFor();
  await look();
  await looks(page, "rule form");
  await page.fill("[name=when]", "load.1 >= 0");
  await page.getByRole("button", { name: "Save the rule" }).click();
  await page.waitForURL((url) => url.pathname === "/rules/coverage");
  await visit("/incidents");
  await page.getByText("A machine that is up").first().waitFor(LONG);
  await looks(page, "rule incident");
});

for (const [name, options] of [["on a phone", { window: "phone" }], ["in the dark", { dark: true }]]) {
  story(`pages of rules are whole ${name}`, options, async (given) => {
    const { page, visit } = given;
    await signIn(given);
    for (const path of ["/rules", "/rules/new", "/rules/new?kind=unit", "/rules/new?kind=port", "/rules/coverage", "/rules/1"]) {
      await visit(path);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      assert.ok(!wide, `${path} scrolls sideways`);
    }
  });
}
