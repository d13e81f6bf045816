// Series of a host: keeping them, computing what charts show from what was measured, formatting it.
// Pure but for the data attributes that an element asks with; drawing is in charts.js.
const sysopSeries = (() => {
  const LINES = ["--c-1", "--c-2", "--c-3", "--c-4", "--c-5", "--c-6"];
  const MOST = 6;

  // ---- numbers
  const short = v => (Math.abs(v) >= 9.95 ? v.toFixed(0) : String(+v.toFixed(1)));
  function scaled(value, base, units) {
    let at = 0;
    while (Math.abs(value) >= base && at < units.length - 1) { value /= base; at++; }
    return `${at === 0 ? value.toFixed(0) : short(value)} ${units[at]}`;
  }
  const UNITS = {
    percent: v => `${short(v)} %`,
    bytes: v => scaled(v, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]),
    rate: v => scaled(v, 1000, ["B/s", "kB/s", "MB/s", "GB/s", "TB/s"]),
    count: v => (Math.abs(v) < 10 ? String(+v.toFixed(2)) : scaled(v, 1000, ["", "k", "M", "G"]).trim()),
  };
  // Axis steps that read well in each unit.
  const GIB = [];
  for (let p = 0; p < 50; p++) GIB.push(2 ** p);
  const STEPS = { percent: [1, 2, 5, 10, 20, 25, 50], bytes: GIB };

  // ---- series of a group
  // Keeps points by metric and label. A null says that nothing was measured then: the line breaks there.
  class Store {
    constructor() { this.series = new Map(); this.gaps = []; this.events = []; }
    take(json, fresh) {
      if (fresh) { this.series.clear(); this.gaps = []; this.events = []; }
      for (const { metric, label, unit, points } of json.series ?? []) {
        const key = `${metric}\n${label ?? ""}`;
        const own = this.series.get(key) ?? { metric, label: label ?? "", unit, t: [], v: [] };
        this.series.set(key, own);
        let last = own.t.at(-1) ?? -Infinity;
        for (const [t, v] of points) if (t / 1000 > last) { last = t / 1000; own.t.push(last); own.v.push(v); }
      }
      const merge = (list, more, key) => { const known = new Set(list.map(key)); for (const one of more ?? []) if (!known.has(key(one))) list.push(one); };
      merge(this.gaps, json.gaps, gap => `${gap.from} ${gap.to}`);
      merge(this.events, json.events, event => `${event.kind} ${event.id}`);
    }
    forget(before) {
      for (const one of this.series.values()) {
        let cut = 0;
        while (cut < one.t.length && one.t[cut] < before) cut++;
        if (cut) { one.t.splice(0, cut); one.v.splice(0, cut); }
      }
    }
    one(metric, label = "") { return this.series.get(`${metric}\n${label}`); }
    labels(metric) { return [...this.series.values()].filter(s => s.metric === metric).map(s => s.label); }
  }
  const newest = one => one?.v.at(-1);

  // A series computed from several of the same times; a point exists where all of them have one.
  function combine(parts, compute) {
    if (parts.some(part => !part)) return null;
    const [first, ...rest] = parts, at = rest.map(part => new Map(part.t.map((t, i) => [t, part.v[i]])));
    const out = { t: [], v: [] };
    first.t.forEach((t, i) => {
      const values = at.map(map => map.get(t));
      if (values.some(value => value === undefined)) return;
      out.t.push(t);
      out.v.push(first.v[i] === null || values.includes(null) ? null : compute(first.v[i], ...values));
    });
    return out;
  }
  const scale = (one, factor) => one && { t: one.t, v: one.v.map(v => (v === null ? null : v * factor)) };
  const share = one => one && scale(one, 100); // a ratio as percent

  // ---- what each kind draws: {unit, stack, range, lines: [{name, color, data, fill}]}
  const CPU = [["user", "--c-user"], ["nice", "--c-nice"], ["system", "--c-system"], ["iowait", "--c-iowait"], ["irq", "--c-irq"], ["steal", "--c-steal"]];
  const KINDS = {
    cpu: store => ({ unit: "percent", stack: true, range: [0, 100], lines: CPU.map(([name, color]) => ({ name, color, data: share(store.one(`cpu.mode.${name}`)) })) }),
    memory(store) {
      const get = name => store.one(`memory.${name}`);
      const cache = combine([get("cached"), get("slab_reclaimable") ?? scale(get("cached"), 0)], (a, b) => a + b);
      const used = combine([get("total"), get("free"), get("buffers"), cache], (all, ...rest) => Math.max(0, all - rest.reduce((a, b) => a + b, 0)));
      return { unit: "bytes", stack: true, range: [0, newest(get("total")) ?? null], lines: [{ name: "used", color: "--c-1", data: used }, { name: "buffers", color: "--c-4", data: get("buffers") }, { name: "page cache", color: "--c-cache", data: cache }] };
    },
    swap: store => ({ unit: "bytes", range: [0, newest(store.one("swap.total")) || null], lines: [{ name: "used", color: "--c-4", fill: true, data: store.one("swap.used") }] }),
    space: (store, el) => full(store, el, "fs.used_ratio"),
    inodes: (store, el) => full(store, el, "fs.inodes.used_ratio"),
    io: (store, el) => pairs(store, el, ["disk.write_bytes", "write", ["--c-2", "--c-3", "--c-6"], true], ["disk.read_bytes", "read", ["--c-1", "--c-4", "--c-5"], false]),
    network: (store, el) => pairs(store, el, ["net.tx_bytes", "out", ["--c-3", "--c-1", "--c-5"], true], ["net.rx_bytes", "in", ["--c-4", "--c-2", "--c-6"], false], label => label !== "lo"),
    load: store => plain(store, "count", [["1 min", "load.1", "--c-1"], ["5 min", "load.5", "--c-3"], ["15 min", "load.15", "--c-5"]]),
    pressure(store) {
      const lines = [["io", "--c-iowait"], ["cpu", "--c-user"], ["memory", "--c-system"]];
      return { unit: "percent", least: 10, lines: lines.map(([name, color], i) => ({ name, color, fill: i === 0, data: share(store.one(`psi.${name}.some`)) })) };
    },
    connections: store => plain(store, "count", [["established", "tcp.established", "--c-1"], ["time wait", "tcp.time_wait", "--c-5"], ["close wait", "tcp.close_wait", "--c-2"]]),
    retransmits: store => plain(store, "count", [["segments sent again, per second", "tcp.retransmits", "--c-2"], ["listen overflows, per second", "tcp.listen_overflows", "--c-6"]]),
    processes: store => plain(store, "count", [["processes", "procs.total", "--c-1"], ["threads", "threads.total", "--c-4"], ["blocked", "procs.blocked", "--c-2"]]),
    files: store => plain(store, "count", [["open files", "fd.used", "--c-1"], ["tracked connections", "conntrack.used", "--c-3"]]),
    // One metric of one label, as an incident's evidence shows it.
    evidence(store, el) {
      const [metric] = el.dataset.metrics.split(","), one = store.one(metric, el.dataset.label);
      const unit = el.dataset.unit || "count";
      return { unit, lines: [{ name: el.dataset.label || metric, color: "--c-2", fill: true, data: unit === "percent" ? share(one) : one }] };
    },
  };
  const plain = (store, unit, list) => ({ unit, lines: list.map(([name, metric, color]) => ({ name, color, data: store.one(metric) })) });
  // How full, fullest first.
  function full(store, el, metric) {
    const wanted = el.dataset.label === undefined ? store.labels(metric) : [el.dataset.label];
    let lines = wanted.map(label => ({ name: label, data: share(store.one(metric, label)) }));
    lines = lines.filter(line => line.data?.v.some(v => v !== null)).sort((a, b) => (newest(b.data) ?? -1) - (newest(a.data) ?? -1)).slice(0, MOST);
    lines.forEach((line, i) => Object.assign(line, { color: i === 0 ? "--c-2" : i === 1 ? "--c-1" : LINES[i], fill: i === 0, width: i === 0 ? 2 : 1.6 }));
    let least = 100;
    for (const line of lines) for (const v of line.data.v) if (v !== null && v < least) least = v;
    return { unit: "percent", range: [least > 60 ? 40 : 0, 104], lines };
  }
  // Two directions of up to three devices, the busiest first.
  function pairs(store, el, one, two, keep = () => true) {
    const sum = label => [one[0], two[0]].reduce((all, metric) => all + (store.one(metric, label)?.v ?? []).reduce((a, b) => a + b, 0), 0);
    let labels = el.dataset.label === undefined ? store.labels(one[0]).filter(keep) : [el.dataset.label];
    labels = labels.map(label => [sum(label), label]).sort((a, b) => b[0] - a[0]).slice(0, MOST / 2).map(([, label]) => label);
    const lines = labels.flatMap((label, i) => [one, two].map(([metric, word, colors, fill]) => ({ name: `${label} ${word}`, color: colors[i], fill: fill && i === 0, data: store.one(metric, label) })));
    return { unit: "rate", lines };
  }

  // ---- from points to uPlot's columns
  // One column of times for all lines; null breaks a line, undefined only means "not at this time".
  function columns(lines, gaps) {
    const times = new Set();
    const broken = lines.map(({ data }) => {
      const points = new Map();
      if (!data?.t.length) return points;
      const steps = data.t.slice(1).map((t, i) => t - data.t[i]).sort((a, b) => a - b);
      const usual = steps[Math.floor(steps.length / 2)] ?? 10;
      data.t.forEach((t, i) => {
        const before = data.t[i - 1];
        if (before !== undefined && (t - before > 2.6 * usual || gaps.some(gap => gap.from / 1000 < t && gap.to / 1000 > before && gap.to - gap.from > usual * 1000))) points.set((before + t) / 2, null);
        points.set(t, data.v[i]);
      });
      return points;
    });
    for (const points of broken) for (const t of points.keys()) times.add(t);
    const xs = [...times].sort((a, b) => a - b);
    return [xs, ...broken.map(points => xs.map(x => points.get(x)))];
  }
  function stacked([xs, ...values]) {
    const sum = xs.map(() => 0);
    const layers = values.map(column => column.map((v, i) => (v == null ? null : (sum[i] += v))));
    return [xs, ...layers.reverse()];
  }

  return { Store, KINDS, UNITS, STEPS, columns, stacked, newest };
})();
