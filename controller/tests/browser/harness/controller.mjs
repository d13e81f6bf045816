// A controller of its own for a file of stories: a temporary data folder, free ports, everything gone afterwards.
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const START_LIMIT = 30_000;
const STOP_LIMIT = 10_000;

// Starts the program named by SYSOP_CONTROLLER and waits until it is healthy.
//
// `env` adds to its environment. The result has `url`, `agents` (address and port for agents), `folder`,
// `output()` (all it printed so far), `match(pattern)` (waits until its output matches) and `stop()`.
export async function startController({ env = {} } = {}) {
  const program = process.env.SYSOP_CONTROLLER;
  if (!program) throw new Error("SYSOP_CONTROLLER names no program: run `cargo xtask test --only browser`");
  const folder = await mkdtemp(join(tmpdir(), "sysop-browser-"));
  const url = `http://127.0.0.1:${await freePort()}`;
  const agents = `127.0.0.1:${await freePort({ udp: true })}`;
  const process_ = spawn(program, [], {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      SYSOP_LISTEN: new URL(url).host,
      SYSOP_AGENTS_LISTEN: agents,
      SYSOP_AGENTS_INTERVAL: "1s",
      SYSOP_DATA_DIR: join(folder, "data"),
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const listen = (chunk) => (output += chunk);
  process_.stdout.setEncoding("utf8").on("data", listen);
  process_.stderr.setEncoding("utf8").on("data", listen);
  const ended = new Promise((resolve) => {
    process_.once("exit", (code, signal) => resolve(signal ?? code));
    process_.once("error", (error) => resolve(error.message));
  });

  // A stopped story must not leave a server behind.
  const kill = () => process_.kill("SIGKILL");
  process.once("exit", kill);

  const controller = {
    url,
    agents,
    folder,
    output: () => output,
    async match(pattern, limit = START_LIMIT) {
      const found = await until(limit, () => output.match(pattern));
      if (!found) throw new Error(`the controller did not print ${pattern} within ${limit} ms:\n${tail(output)}`);
      return found;
    },
    async stop() {
      process_.kill("SIGINT");
      const code = await Promise.race([ended, sleep(STOP_LIMIT, "still running", { ref: false })]);
      kill();
      process.off("exit", kill);
      await rm(folder, { recursive: true, force: true });
      if (code !== 0) throw new Error(`the controller ended with ${code}:\n${tail(output)}`);
    },
  };
  const healthy = async () => (await fetch(`${url}/api/health`).catch(() => undefined))?.ok;
  const state = await Promise.race([until(START_LIMIT, healthy), ended.then((code) => ({ code }))]);
  if (state !== true) {
    kill();
    await rm(folder, { recursive: true, force: true });
    const what = state?.code === undefined ? `was not healthy after ${START_LIMIT} ms` : `ended with ${state.code}`;
    throw new Error(`the controller ${what}:\n${tail(output)}`);
  }
  return controller;
}

// The first true answer of `look`, asked every 50 ms; undefined when the time is over.
export async function until(limit, look) {
  for (const end = Date.now() + limit; Date.now() < end; await sleep(50)) {
    const found = await look();
    if (found) return found;
  }
}

// A port that nobody had a moment ago; with `udp`, free for both.
async function freePort({ udp = false } = {}) {
  for (let attempt = 0; attempt < 50; attempt++) {
    const server = createServer();
    await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
    const { port } = server.address();
    const both = !udp || (await udpIsFree(port));
    await new Promise((resolve) => server.close(resolve));
    if (both) return port;
  }
  throw new Error("no free port");
}

function udpIsFree(port) {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    socket.once("error", () => resolve(false));
    socket.bind(port, "127.0.0.1", () => socket.close(() => resolve(true)));
  });
}

const tail = (text) => text.split("\n").slice(-30).join("\n");
