// What every story asks of every page, without asking: a quiet console, no stranger, no barrier, no sideways scrolling.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// What a person with a screen reader or a keyboard cannot get past.
const BARRIERS = ["serious", "critical"];

// Watches the pages of a browser context; `findings` grows as things go wrong.
export function watch(context, origin) {
  const findings = [];
  const excused = [];
  const say = (text) => {
    if (!findings.includes(text) && !excused.some((pattern) => pattern.test(text))) findings.push(text);
  };
  context.on("request", (request) => {
    const url = new URL(request.url());
    if (!["data:", "blob:", "about:"].includes(url.protocol) && url.origin !== origin) say(`request to ${url.href}`);
  });
  context.on("console", (message) => {
    if (message.type() === "error") say(`console: ${message.text()} (${message.location().url})`);
  });
  context.on("weberror", (error) => say(`script: ${error.error().stack ?? error.error()}`));
  return {
    findings,
    // A story that provokes an error on purpose says which.
    expect: (pattern) => excused.push(pattern),
    async look(page) {
      await page.evaluate(() => document.fonts.ready);
      for (const finding of await barriers(page)) say(finding);
      const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (excess > 0) say(`${page.url()} is ${excess} px wider than the window`);
    },
  };
}

async function barriers(page) {
  // Sent by the debugger, so that the page's own policy on scripts stays as strict as it is.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
  return violations
    .filter(({ impact }) => BARRIERS.includes(impact))
    .flatMap(({ id, help, nodes }) =>
      nodes.map((node) => `${page.url()} ${id}: ${help}: ${node.target.join(" ")} ${node.any[0]?.message ?? ""}`),
    );
}
