// Reports in the form of Rust's own test runner, so that one reader understands all suites.
import { basename } from "node:path";

const indent = (text) => String(text).split("\n").map((line) => `    ${line}`).join("\n");

// The error that the story threw, without the runner's wrapping.
const reason = (error) => error?.cause?.stack ?? error?.cause ?? error?.stack ?? error;

export default async function* report(events) {
  const count = { passed: 0, failed: 0, ignored: 0 };
  for await (const { type, data } of events) {
    if (type === "test:stdout" || type === "test:stderr") yield indent(data.message.trimEnd()) + "\n";
    if (type !== "test:pass" && type !== "test:fail") continue;
    if (data.details?.type === "suite") continue;
    // A file is a test as well: it matters only if it cannot be loaded.
    const isFile = data.name.endsWith(".test.mjs");
    if (isFile && (type === "test:pass" || data.details.error?.failureType === "subtestsFailed")) continue;
    const name = isFile ? `${basename(data.name)} loads` : data.name;
    if (data.skip !== undefined) {
      count.ignored += 1;
      yield `test ${name} ... ignored, ${data.skip}\n`;
    } else if (type === "test:pass") {
      count.passed += 1;
      yield `test ${name} ... ok\n`;
    } else {
      count.failed += 1;
      yield `test ${name} ... FAILED\n${indent(reason(data.details.error))}\n`;
    }
  }
  const verdict = count.failed ? "FAILED" : "ok";
  yield `test result: ${verdict}. ${count.passed} passed; ${count.failed} failed; ${count.ignored} ignored\n`;
}
