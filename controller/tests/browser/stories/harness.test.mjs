// The watch itself: what it must notice on a page, it notices.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { chromium } from "playwright-core";
import { after, before, test } from "node:test";
import { suite } from "../harness/suite.mjs";
import { watch } from "../harness/watch.mjs";

const page = (body, head = "") =>
  `<!doctype html><html lang="en"><head><title>Page</title><link rel="icon" href="data:,">${head}</head><body><main><h1>Page</h1>${body}</main></body></html>`;

const PAGES = {
  "/quiet": page("<p>Nothing is wrong here.</p>"),
  "/error": page('<script>console.error("spilled")</script>'),
  "/throws": page('<script>throw new Error("tripped")</script>'),
  "/stranger": page('<img alt="" src="http://127.0.0.2:9/pixel.png">'),
  "/barrier": page('<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">'),
  "/wide": page('<div style="width: 3000px">wide</div>'),
};

// Serves the pages as strictly as the product does, but for what they must do wrong.
function serve() {
  const server = createServer((request, response) => {
    const text = PAGES[request.url];
    response.writeHead(text ? 200 : 404, {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src * data:",
    });
    response.end(text ?? "");
  });
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () =>
      resolve({ url: `http://127.0.0.1:${server.address().port}`, stop: () => new Promise((end) => server.close(end)) }),
    ),
  );
}

const { story } = suite({ start: serve });

story("a page without fault passes", async ({ visit }) => {
  const shown = await visit("/quiet");
  assert.equal(await shown.textContent("p"), "Nothing is wrong here.");
});

story("an error that a story expects is excused", async ({ visit, expect }) => {
  expect(/spilled/);
  await visit("/error");
});

let server, browser;
before(async () => {
  server = await serve();
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
});
after(async () => {
  await browser.close();
  await server.stop();
});

for (const [path, finding] of Object.entries({
  "/error": /^console: spilled/,
  "/throws": /^script: Error: tripped/,
  "/stranger": /^request to http:\/\/127\.0\.0\.2:9\/pixel\.png/,
  "/barrier": /image-alt/,
  "/wide": /px wider than the window/,
})) {
  test(`the fault of ${path} is found`, async () => {
    const context = await browser.newContext({ baseURL: server.url });
    const watched = watch(context, server.url);
    const shown = await context.newPage();
    await shown.goto(path);
    await watched.look(shown);
    await context.close();
    assert.ok(watched.findings.some((text) => finding.test(text)), `found only: ${watched.findings.join("\n")}`);
  });
}
