// Draws a host's time series with uPlot. Nothing but numbers comes in; colours come from the style
// sheet's tokens, so a change of theme is a redraw. What was not measured is not drawn: a line breaks
// where samples are missing, gaps are hatched, nothing is interpolated and nothing is set to zero.
//
// A group is an element with data-series (address of the series), data-from/data-to or data-span (ms).
// Its charts are elements with data-chart (one of KINDS) and data-metrics, perhaps data-label (one of a
// metric's labels), data-limits (JSON [{v, level, label}]), data-cores. Charts of a group share one
// request, one time axis and one cursor.
(() => {
  const { Store, KINDS, UNITS, STEPS, columns, stacked, newest } = sysopSeries;
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const token = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const FONT = '11px "Inter",system-ui,sans-serif';
  const alpha = (color, part) => `color-mix(in srgb, ${color} ${part * 100}%, transparent)`;

  // ---- drawing beside the lines
  const MARK = {
    incident: ["--crit-fill", (c, x, y, r) => { for (let i = 0; i < 8; i++) { const a = Math.PI / 8 + (i * Math.PI) / 4; c.lineTo(x + r * Math.cos(a), y + r * Math.sin(a)); } }],
    run: ["--accent-fill", (c, x, y, r) => { c.moveTo(x, y - r * 1.2); c.lineTo(x + r * 1.2, y); c.lineTo(x, y + r * 1.2); c.lineTo(x - r * 1.2, y); }],
  };
  function hatch(u, group) {
    const { ctx, bbox: b } = u, px = devicePixelRatio;
    const edges = (from, to) => [Math.max(u.valToPos(from / 1000, "x", true), b.left), Math.min(u.valToPos(to / 1000, "x", true), b.left + b.width)];
    for (const event of group.store.events) if (event.kind === "incident" && event.to !== undefined) {
      const [x0, x1] = edges(event.t, event.to ?? Date.now());
      if (x1 > x0) { ctx.fillStyle = alpha(token("--crit-fill"), 0.07); ctx.fillRect(x0, b.top, x1 - x0, b.height); }
    }
    for (const gap of group.store.gaps) {
      const [x0, x1] = edges(gap.from, gap.to);
      if (x1 <= x0) continue;
      ctx.save();
      ctx.beginPath();
      ctx.rect(x0, b.top, x1 - x0, b.height);
      ctx.clip();
      ctx.strokeStyle = token("--line-2");
      ctx.lineWidth = px;
      ctx.beginPath();
      for (let x = x0 - b.height; x < x1; x += 6 * px) { ctx.moveTo(x, b.top + b.height); ctx.lineTo(x + b.height, b.top); }
      ctx.stroke();
      ctx.restore();
    }
  }
  function dashed(ctx, color, width, dash, x0, y0, x1, y1) {
    ctx.strokeStyle = color;
    ctx.lineWidth = width;
    ctx.setLineDash(dash);
    ctx.beginPath();
    ctx.moveTo(x0, y0);
    ctx.lineTo(x1, y1);
    ctx.stroke();
    ctx.setLineDash([]);
  }
  function marks(u, group, chart) {
    const { ctx, bbox: b } = u, px = devicePixelRatio, right = b.left + b.width, lane = chart.kind === "events";
    ctx.save();
    for (const limit of chart.limits) {
      const y = u.valToPos(limit.v, "y", true), color = limit.level === "crit" ? "crit" : "warn";
      if (y < b.top || y > b.top + b.height) continue;
      dashed(ctx, token(`--${color}-fill`), 1.25 * px, [5 * px, 4 * px], b.left, y, right, y);
      ctx.font = `${10.5 * px}px Inter,sans-serif`;
      ctx.fillStyle = token(`--${color}`);
      ctx.textAlign = "left";
      ctx.fillText(limit.label, b.left + 4 * px, y + (y - b.top < 14 * px ? 12 : -4) * px);
    }
    const shown = group.store.events.filter(event => MARK[event.kind]).map(event => ({ event, x: u.valToPos(event.t / 1000, "x", true) })).filter(({ x }) => x >= b.left && x <= right).sort((p, q) => p.x - q.x);
    const free = [b.left, b.left]; // where the next label of each row may begin
    for (const { event, x } of shown) {
      const [name, path] = MARK[event.kind], color = token(name);
      dashed(ctx, color, px, [2 * px, 3 * px], x, b.top, x, b.top + b.height);
      if (!lane) continue;
      ctx.fillStyle = color;
      ctx.beginPath();
      path(ctx, x, b.top + 11 * px, 5 * px);
      ctx.closePath();
      ctx.fill();
      ctx.font = `${11 * px}px Inter,sans-serif`;
      const width = ctx.measureText(event.label).width, left = x + 10 * px + width > right;
      const from = left ? x - 10 * px - width : x + 10 * px, row = free[0] <= from ? 0 : free[1] <= from ? 1 : -1;
      if (u.width <= 640 || row < 0) continue;
      free[row] = from + width + 12 * px;
      ctx.fillStyle = token("--text-2");
      ctx.textAlign = "left";
      ctx.fillText(event.label, from, b.top + (row ? 32 : 15) * px);
    }
    if (group.pin) { const x = u.valToPos(group.pin / 1000, "x", true); dashed(ctx, token("--accent"), 1.5 * px, [], x, b.top, x, b.top + b.height); }
    ctx.restore();
  }

  // Times below the last chart; a view of more than a day names the day where it begins.
  const ticks = span => [[86400, "{DD} {MMM}", null, null, null, null, null, null, 0], [60, "{HH}:{mm}", null, null, span > 864e5 ? "{DD} {MMM}" : null, null, null, null, 0], [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 0]];

  // ---- one chart
  const HEIGHT = { events: 44, cpu: 150, mini: 84 };
  class Chart {
    constructor(el, group) {
      this.el = el;
      this.group = group;
      this.kind = el.dataset.chart;
      this.mini = el.dataset.mini !== undefined;
      this.limits = JSON.parse(el.dataset.limits || "[]");
      this.legend = el.closest(".pc")?.querySelector(".lg");
    }
    spec() {
      if (this.kind === "events") return { unit: "count", range: [0, 1], lines: [] };
      const spec = KINDS[this.kind](this.group.store, this.el);
      return { ...spec, lines: spec.lines.filter(line => line.data?.v.some(v => v !== null)) };
    }
    draw() {
      const spec = this.spec(), names = spec.lines.map(line => line.name).join("\n");
      this.raw = columns(spec.lines, this.group.store.gaps);
      this.el.dataset.empty = String(this.kind !== "events" && !spec.lines.length);
      if (this.kind === "events") this.raw = [[this.group.from / 1000, this.group.to / 1000]];
      const data = spec.stack ? stacked(this.raw) : this.raw;
      this.lines = spec.lines;
      if (this.plot && this.names === names && this.top === (spec.range?.[1] ?? null)) { this.plot.setData(data); this.say(null); return; }
      this.plot?.destroy();
      this.names = names;
      this.top = spec.range?.[1] ?? null;
      this.plot = new uPlot(this.options(spec), data, this.el);
      this.say(null);
    }
    options(spec) {
      const { group, mini } = this, lane = this.kind === "events", format = UNITS[spec.unit];
      const axis = { stroke: token("--c-axis"), font: FONT, grid: { stroke: token("--c-grid"), width: 1 }, ticks: { show: false } };
      const last = lane ? false : mini || group.charts.filter(chart => chart.kind !== "events").at(-1) === this;
      const lines = spec.stack ? [...spec.lines].reverse() : spec.lines;
      const y = (u, low, high) => [0, Math.max(spec.least ?? 0, high * 1.12) || 1];
      return {
        width: this.el.clientWidth || 600,
        height: (mini ? HEIGHT.mini : HEIGHT[this.kind] ?? 108) + (last && !mini ? 22 : 0),
        class: "u-hz",
        tzDate: t => uPlot.tzDate(new Date(t * 1000), "UTC"),
        padding: mini ? [9, 8, 0, 0] : [8, 12, last ? 0 : 8, lane ? 58 : 0],
        legend: { show: false },
        cursor: { y: false, points: { show: !lane, size: 6 }, sync: { key: group.key }, drag: { x: !mini, y: false, setScale: false } },
        scales: { x: { time: true, range: () => [group.from / 1000, group.to / 1000] }, y: { range: spec.range && spec.range[1] !== null ? () => spec.range : y } },
        axes: [
          { ...axis, show: last, size: 24, space: mini ? 70 : 80, grid: { ...axis.grid, show: !mini }, values: ticks(group.to - group.from) },
          { ...axis, show: !lane, size: mini && spec.unit === "percent" ? 40 : 58, gap: 6, space: mini ? 24 : 28, incrs: STEPS[spec.unit], values: (_, marks) => marks.map(spec.lines.length ? format : () => "") },
        ],
        series: [{}, ...lines.map(line => ({ label: line.name, stroke: token(spec.stack ? "--surface" : line.color), width: spec.stack ? 0.75 : line.width ?? 1.6, fill: spec.stack ? token(line.color) : line.fill ? alpha(token(line.color), 0.14) : undefined, points: { show: false }, spanGaps: false }))],
        hooks: {
          drawClear: [u => hatch(u, group)],
          draw: [u => marks(u, group, this)],
          setCursor: [u => this.say(u.cursor.idx)],
          setSelect: [u => { if (u.select.width > 4) group.zoom(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")); }],
          ready: [u => this.listen(u)],
        },
      };
    }
    // A click pins a moment for what follows the charts; a double click goes back to the range before.
    listen(u) {
      let down = 0;
      u.over.addEventListener("mousedown", event => (down = event.clientX));
      u.over.addEventListener("click", event => { if (Math.abs(event.clientX - down) < 3 && u.cursor.left >= 0) this.group.pinAt(u.posToVal(u.cursor.left, "x") * 1000); });
      u.over.addEventListener("dblclick", () => this.group.home());
    }
    // The legend: values under the cursor, else the newest.
    say(index) {
      if (!this.legend || !this.lines) return;
      const spec = this.spec(), format = UNITS[spec.unit];
      if (this.said !== this.names + document.documentElement.dataset.theme) {
        this.said = this.names + document.documentElement.dataset.theme;
        this.outs = [];
        this.legend.replaceChildren(...this.lines.map(line => {
          const item = document.createElement("span"), spot = document.createElement("i"), value = document.createElement("em");
          spot.style.background = token(line.color);
          this.outs.push(value);
          item.append(spot, `${line.name} `, value);
          return item;
        }));
      }
      this.lines.forEach((line, i) => {
        const column = this.raw[i + 1], value = index == null ? newest(line.data) : nearest(column, index);
        this.outs[i].textContent = value == null ? "no data" : format(value);
      });
    }
  }
  // Lines of one chart may have points at different times: take the one beside the cursor.
  const nearest = (column, index) => column[index] ?? (column[index] === null ? null : column[index - 1] ?? column[index + 1]);

  // ---- a group of charts
  let groups = [], keys = 0;
  class Group {
    constructor(el) {
      this.el = el;
      this.key = `group-${keys++}`;
      this.store = new Store();
      this.charts = $$("[data-chart]", el).map(chart => new Chart(chart, this));
      this.span = +el.dataset.span || 0;
      this.live = !el.dataset.to;
      this.clock();
      if (!el.matches("details:not([open])")) this.load();
      else el.addEventListener("toggle", () => { if (el.open && !this.loaded) this.load(); });
      if ("resize" in el.dataset === false) { let width = innerWidth; addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; for (const chart of this.charts) chart.plot?.setSize({ width: chart.el.clientWidth, height: chart.plot.height }); } }); }
    }
    clock() {
      this.to = this.live ? Date.now() : +this.el.dataset.to;
      this.from = this.live ? this.to - this.span : +this.el.dataset.from;
    }
    async load() {
      this.loaded = true;
      this.clock();
      clearTimeout(this.timer);
      const metrics = [...new Set(this.charts.flatMap(chart => (chart.el.dataset.metrics || "").split(",").filter(Boolean)))];
      const query = new URLSearchParams({ metric: metrics.join(","), from: Math.floor(this.from), to: Math.ceil(this.to), points: 700 });
      if (!metrics.length) return;
      try {
        const answer = await fetch(`${this.el.dataset.series}?${query}`, { headers: { accept: "application/json" } });
        if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.detail ?? `status ${answer.status}`);
        const json = await answer.json();
        this.step = json.step_ms; // 0: the samples themselves
        this.store.take(json, true);
        this.fail(null);
        this.draw();
      } catch (error) {
        this.fail(error);
        this.timer = setTimeout(() => this.load(), 10000);
      }
      // Coarse steps are read again rather than grown point by point.
      if (this.live && this.step > 15000) this.timer = setTimeout(() => this.load(), this.step);
    }
    draw() {
      for (const chart of this.charts) chart.draw();
      const note = this.el.querySelector("[data-gaps]");
      if (!note) return;
      const time = ms => new Date(ms).toISOString().slice(11, 16);
      const seen = this.store.gaps.filter(gap => gap.to > this.from && gap.from < this.to);
      note.textContent = seen.length ? `Hatched: no data, ${seen.slice(-3).map(gap => `${time(gap.from)} to ${time(gap.to)}, ${gap.reason.replaceAll("_", " ")}`).join("; ")}` : "";
    }
    fail(error) {
      const box = this.el.querySelector("[data-failed]");
      if (!box) return;
      box.hidden = !error;
      if (error) box.querySelector("[data-why]").textContent = `${error.message}. Tried ${new Date().toISOString().slice(11, 19)} UTC, next try in 10 s.`;
    }
    tick(json) {
      if (!this.live || !this.loaded || this.step > 15000) return;
      this.store.take(json, false);
      this.clock();
      this.store.forget(this.from / 1000 - 60);
      this.draw();
    }
    zoom(from, to) {
      if (to - from < 20) return;
      const url = new URL(location.href);
      url.searchParams.delete("range");
      url.searchParams.set("from", Math.floor(from * 1000));
      url.searchParams.set("to", Math.ceil(to * 1000));
      location.assign(url);
    }
    home() { if (this.el.dataset.home && !this.live) location.assign(this.el.dataset.home); }
    pinAt(ms) {
      if (!this.el.dataset.pin) return;
      this.pin = ms;
      for (const chart of this.charts) chart.plot?.redraw(false);
      htmx.ajax("GET", `${this.el.dataset.pin}?at=${Math.round(ms)}`, { target: this.el.dataset.pinTarget, swap: "outerHTML" });
    }
  }

  function begin() {
    for (const el of $$("[data-series]:not([data-ready])")) { el.dataset.ready = ""; groups.push(new Group(el)); }
    groups = groups.filter(group => group.el.isConnected);
  }
  function again() {
    for (const group of groups) for (const chart of group.charts) if (chart.plot) { chart.plot.destroy(); chart.plot = null; chart.draw(); }
  }
  begin();
  addEventListener("htmx:after:swap", begin);
  addEventListener("theme", again);
  document.fonts.load(FONT).then(again); // canvas text does not change its font by itself
  addEventListener("tick", event => { const json = JSON.parse(event.detail.data); for (const group of groups) group.tick(json); });
  let opened = 0;
  addEventListener("htmx:sse:after:connection", () => { if (opened++) for (const group of groups) if (group.live && group.loaded) group.load(); });
})();
