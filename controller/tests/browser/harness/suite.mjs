// A file of stories: one controller and one browser for all of them, a fresh browser context for each.
//
//   import { suite } from "../harness/suite.mjs";
//   const { story } = suite({ env: { SYSOP_INIT_SECRET: "…" } });
//   story("a visitor is sent to the sign-in page", async ({ visit }) => {
//     const page = await visit("/");
//     assert.equal(new URL(page.url()).pathname, "/login");
//   });
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { startController } from "./controller.mjs";
import { watch } from "./watch.mjs";

// Chromium as root and without a word to anybody outside.
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--font-render-hinting=none",
];

const WINDOWS = { desk: { width: 1440, height: 900 }, phone: { width: 360, height: 760 } };

// How long a page may take to show what a story waits for.
const PATIENCE = 15_000;
const STORY_LIMIT = 180_000;

// Whether the larger numbers are asked for.
export const full = process.env.SYSOP_TEST_FULL === "1";

// Prepares a file of stories; `start` can replace the controller by anything with `url` and `stop`.
export function suite({ env = {}, start = () => startController({ env }) } = {}) {
  let controller, browser, profile;
  before(async () => {
    controller = await start();
    profile = await mkdtemp(join(tmpdir(), "sysop-chromium-"));
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
      args: ARGUMENTS,
      env: { ...process.env, HOME: profile },
    });
  });
  after(async () => {
    await browser?.close();
    if (profile) await rm(profile, { recursive: true, force: true });
    await controller?.stop();
  });

  // `options`: `window` ("desk" or "phone"), `dark`, and whatever a browser context takes.
  const story = (name, options, tell) => {
    if (typeof options === "function") [options, tell] = [{}, options];
    const { window = "desk", dark = false, ...more } = options;
    test(name, { timeout: STORY_LIMIT }, async () => {
      const context = await browser.newContext({
        baseURL: controller.url,
        viewport: WINDOWS[window],
        colorScheme: dark ? "dark" : "light",
        reducedMotion: "reduce",
        ...more,
      });
      context.setDefaultTimeout(PATIENCE);
      const watched = watch(context, new URL(controller.url).origin);
      const page = await context.newPage();
      const visit = async (path) => {
        await page.goto(path);
        await watched.look(page);
        return page;
      };
      try {
        await tell({ page, visit, look: () => watched.look(page), expect: watched.expect, context, controller });
        if (page.url() !== "about:blank") await watched.look(page);
        if (watched.findings.length) throw new Error(`the story went well, but:\n${watched.findings.join("\n")}`);
      } catch (error) {
        error.message += await picture(page, name);
        throw error;
      } finally {
        await context.close();
      }
    });
  };
  return { story };
}

// Saves what the page looks like where SYSOP_SHOTS names a folder; a sentence that says so.
async function picture(page, name) {
  const folder = process.env.SYSOP_SHOTS;
  if (!folder || page.url() === "about:blank") return "";
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${name.replace(/[^A-Za-z0-9]+/g, "-").slice(0, 80)}.png`);
  await page.screenshot({ path, fullPage: true }).catch(() => {});
  return `\nThe page looked like ${path}`;
}

// Saves what the page looks like on a desk, in the dark and on a phone where SYSOP_LOOKS names a folder, for a
// person to look at.
export async function looks(page, name) {
  const folder = process.env.SYSOP_LOOKS;
  if (!folder) return;
  await mkdir(folder, { recursive: true });
  const before = page.viewportSize();
  for (const [look, window, colorScheme] of [
    ["1440", WINDOWS.desk, "light"],
    ["1440-dark", WINDOWS.desk, "dark"],
    ["360", WINDOWS.phone, "light"],
  ]) {
    await page.setViewportSize(window);
    await page.emulateMedia({ colorScheme });
    await page.waitForTimeout(300);
    await page.screenshot({ path: join(folder, `${name.replace(/[^A-Za-z0-9]+/g, "-")}-${look}.png`), fullPage: true });
  }
  await page.setViewportSize(before);
  await page.emulateMedia({ colorScheme: null });
}
