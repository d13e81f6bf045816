// Behaviour of the frame: theme, dialogs, copying, ages, the live badge, keys. Pages work without it;
// nothing here decides anything.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const html = document.documentElement;

  // Theme: the cookie lets the server draw the right one at once.
  function choose(choice) {
    html.dataset.choice = choice;
    document.cookie = `theme=${choice};path=/;max-age=31536000;samesite=lax`;
    html.dataset.theme = choice !== "system" ? choice : matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    for (const button of all("[data-theme-choice]")) button.setAttribute("aria-pressed", String(button.dataset.themeChoice === choice));
    dispatchEvent(new Event("theme"));
  }
  const toggle = () => choose(html.dataset.theme === "dark" ? "light" : "dark");

  // Dialogs: browsers without invoker commands get the same two.
  function command(button) {
    if ("commandForElement" in HTMLButtonElement.prototype) return;
    const dialog = document.getElementById(button.getAttribute("commandfor"));
    if (button.getAttribute("command") === "show-modal") dialog?.showModal();
    else dialog?.close();
  }

  addEventListener("click", event => {
    const hit = selector => event.target.closest?.(selector);
    let found;
    if ((found = hit("[data-theme-choice]"))) choose(found.dataset.themeChoice);
    else if (hit("[data-theme-toggle]")) toggle();
    else if ((found = hit("[data-copy]"))) copy(found);
    else if ((found = hit("[data-close]"))) found.closest(".toast").remove();
    else if ((found = hit("[commandfor]"))) command(found);
    else if (event.target.matches?.("dialog")) event.target.close();
  });

  // Copies the text of a place, and says so on the button for two seconds.
  async function copy(button) {
    const text = document.querySelector(button.dataset.copy).textContent.trim();
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const words = button.querySelector("span") ?? button, before = words.textContent;
    words.textContent = "Copied";
    setTimeout(() => (words.textContent = before), 2000);
  }

  // A form is sent once; a page restored from the browser's cache may be used again.
  addEventListener("submit", event => {
    if (event.target.matches("[data-once]")) setTimeout(() => all("button", event.target).forEach(b => (b.disabled = true)));
  });
  addEventListener("pageshow", event => {
    if (event.persisted) all("[data-once] button").forEach(b => (b.disabled = false));
  });
  // Filters that are form fields apply when changed.
  addEventListener("change", event => {
    if (event.target.matches("[data-apply]")) event.target.form.requestSubmit();
  });

  // Ages count on. The server's words are the model: see widgets/format.rs.
  const STEPS = [[172800e3, 86400e3, "d"], [3600e3, 3600e3, "h"], [60e3, 60e3, "min"], [0, 1e3, "s"]];
  function age(ms) {
    const [, unit, name] = STEPS.find(([from]) => ms >= from);
    return `${Math.floor(ms / unit)} ${name}`;
  }
  function tick() {
    for (const time of all("[data-age]")) {
      const text = age(Math.max(0, Date.now() - time.dataset.age));
      if (time.textContent !== text) time.textContent = text;
    }
    for (const time of all("[data-left]")) {
      const left = Math.max(0, Math.ceil((time.dataset.left - Date.now()) / 1000));
      time.textContent = left > 0 ? `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}` : "expired";
    }
    const now = new Date().toISOString().slice(11, 16);
    for (const clock of all("[data-clock]")) if (clock.textContent !== now) clock.textContent = now;
  }

  // The live link: its badge, and a notice when it has been away for ten seconds.
  let lost = 0;
  function link(state) {
    const badge = document.getElementById("live-badge");
    if (!badge) return;
    badge.dataset.link = state;
    badge.querySelector("span").textContent = { on: "Live", wait: "Connecting", off: "Reconnecting" }[state];
    if (state === "on") lost = 0;
    else if (state === "off" && !lost) lost = Date.now();
  }
  function notice() {
    const box = document.getElementById("lost");
    if (!box) return;
    const away = lost && !document.hidden && Date.now() - lost > 10e3;
    if (away && box.hidden) box.querySelector("[data-lost]").textContent = new Date(lost).toISOString().slice(11, 19) + " UTC";
    box.hidden = !away;
  }
  addEventListener("htmx:sse:after:connection", event => link(event.detail.connection.status < 400 ? "on" : "off"));
  addEventListener("htmx:sse:error", () => link("off"));
  addEventListener("htmx:sse:before:connection", event => { if (event.detail.connection.attempt > 0 && !document.hidden) link("off"); });
  addEventListener("htmx:error", event => { if (event.target.id === "live") { link("off"); again(); } });
  // The extension takes over once a stream was open; a first attempt that fails is tried again here.
  function again() {
    const source = document.getElementById("live");
    setTimeout(() => { if (source && !source._htmx?.sse) htmx.ajax("GET", source.getAttribute("hx-sse:connect"), { source }); }, 3000 + Math.random() * 4000);
  }
  addEventListener("htmx:response:error", event => { if (event.target.id === "live") { link("off"); again(); } });

  // Keys. None of them approves or runs anything.
  let went = 0;
  function move(step) {
    const rows = all("[data-row]").filter(row => row.checkVisibility());
    const at = rows.findIndex(row => row.contains(document.activeElement));
    const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step];
    (next?.matches("a") ? next : next?.querySelector("a"))?.focus();
  }
  addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input,textarea,select,dialog")) return;
    const key = event.key.toLowerCase();
    if (Date.now() - went < 1200) {
      went = 0;
      const entry = document.querySelector(`.side [data-key="${CSS.escape(key)}"]`);
      if (entry) { event.preventDefault(); location.href = entry.href; }
    } else if (key === "/") { event.preventDefault(); document.querySelector("[data-seek]")?.focus(); }
    else if (key === "g") went = Date.now();
    else if (key === "t") toggle();
    else if (key === "?") document.getElementById("keys")?.showModal();
    else if (key === "j" || key === "k") move(key === "j" ? 1 : -1);
  });

  addEventListener("DOMContentLoaded", () => {
    tick();
    setInterval(() => { tick(); notice(); }, 1000);
    setTimeout(() => all(".toast:not([data-stay])").forEach(toast => toast.remove()), 6000);
  });
})();
