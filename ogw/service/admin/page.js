"use strict";
// Reads the state that came with the page, then asks for it again and again. Nothing is ever written as markup: what
// stands here comes from strangers, so it is always text.
(() => {
  const POLL = 2000, PATIENCE = 5000, SPAN = 900, SMOOTH = 10, OPEN = 20; // ms, ms, s, s, tunnels
  const start = JSON.parse(document.getElementById("start").textContent);
  const texts = start.texts;
  const $ = (id) => document.getElementById(id);
  let status = start.status, points = start.points, tunnels = start.tunnels;
  let paused = false, lost = false, asking = false, timer = 0;

  // What is said.

  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const say = (key, values = {}) => fill(texts[key], values);
  const { group, decimal: point, date: dateForm } = start.numbers;
  function decimal(n, digits = 1) {
    const [whole, rest] = n.toFixed(digits).split(".");
    return whole.replace(/\B(?=(\d{3})+$)/g, group) + (rest ? point + rest : "");
  }
  const count = (n) => decimal(n, 0);
  const rate = (n) => (n >= 100 ? count(n) : decimal(n));
  function size(n) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = 0;
    while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit += 1; }
    return `${unit === 0 || n >= 100 ? count(n) : decimal(n)} ${units[unit]}`;
  }
  function lasting(seconds) {
    const s = Math.floor(seconds), m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
    return d ? say("days_hours", { days: d, hours: h % 24 }) : h ? say("hours_minutes", { hours: h, minutes: m % 60 })
      : m ? say("minutes", { minutes: m }) : say("seconds", { seconds: s });
  }
  const span = (seconds) => seconds >= 60
    ? say("minutes", { minutes: Math.round(seconds / 60) }) : say("seconds", { seconds: Math.round(seconds) });
  const mostRules = 3; // of a relay proxy, as page.py has it
  const relayClasses = { "never tried": "quiet", up: "works", "refuses us": "rests", resting: "rests" };
  function ago(age) {
    const s = Math.floor(age);
    if (s < 2) return say("just_now");
    const [n, unit] = s < 60 ? [s, "seconds"] : s < 3600 ? [s / 60, "minutes"]
      : s < 86400 ? [s / 3600, "hours"] : [s / 86400, "days"];
    return say("ago", { time: say(unit, { [unit]: Math.floor(n) }) });
  }
  const now = () => (status.started // the gateway's clock, not ours
    ? new Date(Date.parse(status.started) + status.uptime * 1000) : new Date()).toISOString();
  const dated = (time) => fill(dateForm, { year: time.slice(0, 4), month: time.slice(5, 7), day: time.slice(8, 10) });
  const clock = (time) => Date.parse(now()) - Date.parse(time) < 86400000
    ? `${time.slice(11, 19)} UTC` : `${dated(time)} ${time.slice(11, 16)} UTC`;

  // Counters are since the start; what happens a second is a difference, over ten seconds.

  function speed(at, column) {
    const [t, value] = [points[at][0], points[at][column]];
    let from = at;
    while (from > 0 && t - points[from][0] < SMOOTH) from -= 1;
    const seconds = t - points[from][0];
    return Math.max(0, (value - points[from][column]) / Math.max(seconds, SMOOTH));
  }
  function take(fresh) {
    const counters = fresh.counters;
    if (fresh.uptime < status.uptime) points = []; // another gateway: clocks may be set, so `started` does not tell
    if (!points.length && fresh.started && fresh.uptime <= 2 * SMOOTH) points = [[0, 0, 0, 0, 0, 0]];
    points = points.filter((point) => point[0] < fresh.uptime && point[0] >= fresh.uptime - SPAN);
    points.push([fresh.uptime, counters.tunnels, counters.allowed, counters.refused + counters.tls_rejections,
      counters.bytes_up, counters.bytes_down]);
    status = fresh;
  }

  // Elements.

  function element(name, about = {}, ...inside) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(about)) made.setAttribute(key, value);
    made.append(...inside);
    return made;
  }
  function drawn(name, about) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(about)) made.setAttribute(key, value);
    return made;
  }
  function write(where, text) { // only what changed: nothing is read out twice, no selection is lost
    if (where.textContent !== text) where.textContent = text;
  }
  function bar(share) {
    const about = { class: "bar", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" };
    const made = drawn("svg", about);
    made.append(drawn("rect", { width: Math.max(0.5, share * 100).toFixed(1), height: 4 }));
    return made;
  }
  // A table's rows by key: a row stays the element it was, so that focus and selection stay, too.
  const known = new Map();
  function rows(name, list, key, make) {
    const body = document.querySelector(`[data-t="${name}"]`);
    const before = known.get(name) || new Map(), after = new Map();
    const focused = body.contains(document.activeElement) ? document.activeElement : null;
    if (!known.has(name)) body.replaceChildren();
    for (const one of list) {
      const text = JSON.stringify(one), id = key(one), old = before.get(id);
      let row = old;
      if (!old || old.text !== text) {
        row = { tr: old ? old.tr : element("tr", { role: "row" }), text };
        const cells = make(one);
        cells.forEach((cell, number) => {
          const there = row.tr.children[number];
          if (!there) row.tr.append(cell);
          else if (there.outerHTML !== cell.outerHTML && !there.contains(focused)) there.replaceWith(cell);
        });
      }
      after.set(id, row);
    }
    for (const [id, row] of before) if (!after.has(id)) row.tr.remove();
    let place = 0;
    for (const row of after.values()) {
      if (body.children[place] !== row.tr) body.insertBefore(row.tr, body.children[place] || null);
      place += 1;
    }
    if (focused && document.activeElement !== focused && body.contains(focused)) focused.focus({ preventScroll: true });
    known.set(name, after);
    document.querySelectorAll(`[data-none="${name}"]`).forEach((none) => { none.hidden = list.length > 0; });
  }

  // What is shown.

  function values() {
    const c = status.counters, last = points.length - 1, refused = c.refused + c.tls_rejections;
    const since = status.uptime <= SPAN ? [0, 0, 0, 0, 0, 0] : points[0];
    return {
      uptime: say("up_for", { time: lasting(status.uptime) }),
      machine: status.machine,
      version: say("version_is", { version: status.version }),
      policy: say("policy_is", { policy: status.policy }),
      tunnels: count(c.tunnels),
      tunnels_of: say("of", { most: count(status.max_tunnels) }),
      clients: say("from_clients", { count: count(c.clients) }),
      opened: rate(speed(last, 2)),
      opened_total: say("opened_in_all", { count: count(c.allowed) }),
      up: size(speed(last, 4)),
      down: size(speed(last, 5)),
      bytes_total: say("bytes_in_all", { up: size(c.bytes_up), down: size(c.bytes_down) }),
      refused: count(refused - since[3]),
      refused_span: say("in_the_last", { time: span(status.uptime - since[0]) }),
      refused_total: say("refused_in_all", { count: count(refused) }),
      rejected_total: say("rejected_in_all", { count: count(c.tls_rejections) }),
      errors_total: say("errors_in_all", { count: count(c.errors) }),
      predecessor: predecessor(status.predecessor),
    };
  }
  function predecessor(one) {
    return one ? say("predecessor_drains", {
      pid: one.pid, count: one.tunnels === null ? "?" : count(one.tunnels), time: lasting(one.seconds) }) : "";
  }
  function show() {
    const shown = values();
    for (const where of document.querySelectorAll("[data-v]")) write(where, shown[where.dataset.v]);
    const full = Math.min(1, status.counters.tunnels / (status.max_tunnels || 1));
    $("full").setAttribute("width", (full * 100).toFixed(1));
    state();
    const wrong = status.attention, list = document.querySelector("#attention ul");
    if (JSON.stringify(wrong) !== JSON.stringify([...list.children].map((item) => item.textContent))) {
      list.replaceChildren(...wrong.map((text) => element("li", {}, text)));
    }
    $("attention").hidden = wrong.length === 0;
    tables();
    plots();
  }
  const door = (place) => (status.listen_absent || []).includes(place) ? say("absent", { listen: place }) : place;
  function state() {
    const where = $("state"), old = paused ? "paused" : lost ? "lost" : "", name = old || status.state, relays = status.relay_proxies;
    const number = (which) => relays.filter((one) => one.state === which).length;
    where.className = `state ${name}`;
    document.body.classList.toggle("lost-now", Boolean(old));
    write(where.querySelector("strong"), say(name));
    write(where.querySelector("span"), old ? say("lost_more", { time: clock(now()) })
      : say(number("never tried") ? "listens_untried" : relays.length ? "listens_relays" : "listens", {
        listen: status.listen.map(door).join(", "), up: number("up"), untried: number("never tried"), all: relays.length }));
    document.title = old ? `${say(old)} – ogw ${status.machine}`
      : `${say(status.state)}, ${say("tunnels_open", {
        count: count(status.counters.tunnels), most: count(status.max_tunnels) })} – ogw ${status.machine}`;
  }
  const relayFor = (rules) => rules.length
    ? say("relay_for", { rules: rules.slice(0, mostRules).join(", ") + (rules.length > mostRules ? ", ..." : "") }) : "";
  function tables() {
    const shown = status.refusals.map(({ age, ...one }) => one); // which alone would make every row another one
    rows("refusals", shown, (one) => JSON.stringify([one.client, one.client_subject, one.target, one.reason, one.enforced]), refusal);
    document.querySelectorAll('[data-t="refusals"] time').forEach((time, at) => write(time, ago(status.refusals[at].age)));
    more();
    rows("relays", status.relay_proxies, (one) => one.proxy, (one) => [
      element("th", { scope: "row" }, element("code", {}, one.proxy)),
      element("td", {}, element("span", { class: relayClasses[one.state] }, say(`relay ${one.state}`)),
        ...[[one.why, one.age === null ? "" : ago(one.age), relayFor(one.named_for)].filter(Boolean).join(", ")].filter(Boolean)
          .flatMap((more) => [" ", element("span", { class: "quiet" }, more)])),
      element("td", { class: "n" }, count(one.tunnels)),
      element("td", { class: "n" }, count(one.opened)), element("td", { class: "n" }, count(one.failed))]);
    const reasons = Object.entries(status.reasons).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    counted("reasons", reasons);
    counted("clients", status.top_clients.map((one) => [one.client, one.tunnels]));
    counted("hosts", status.top_hosts.map((one) => [one.host, one.tunnels]));
    rows("workers", status.workers, (one) => one.number, (one) => [
      element("th", { scope: "row" }, one.pid ? String(one.pid) : say("not_running")),
      element("td", { class: "n" }, count(one.tunnels)),
      element("td", { class: "n" },
        say("files_of", { files: count(one.descriptors), most: count(status.max_descriptors) }))]);
  }
  function openTunnels() {
    write($("open-of"), tunnels.tunnels.length
      ? say("open_of", { count: count(tunnels.tunnels.length), all: count(tunnels.total) }) : "");
    rows("open", tunnels.tunnels, (one) => one.tunnel, (one) => [
      element("th", { scope: "row" }, element("code", {}, one.tunnel)),
      element("td", {}, one.client,
        ...(one.client_subject ? [" ", element("span", { class: "quiet" }, one.client_subject)] : []),
        ...(one.via ? [" ", element("span", { class: "quiet" }, say("through", { balancer: one.via }))] : [])),
      ...[one.target, one.state].map((text) => element("td", {}, text)),
      ...[lasting(one.duration), size(one.bytes_up), size(one.bytes_down)].map((n) => element("td", { class: "n" }, n))]);
    write(document.querySelector('[data-none="open"]'), say($("filtered").value.trim() ? "open_no_match" : "open_none"));
  }
  function counted(name, pairs) {
    const most = Math.max(1, ...pairs.map((pair) => pair[1]));
    rows(name, pairs.map(([label, n]) => [label, n, n / most]), (one) => one[0], ([label, n, share]) => [
      element("th", { scope: "row" }, element("code", {}, label), bar(share)),
      element("td", { class: "n" }, count(n))]);
  }
  const FEW = 6; // as in page.css
  function more() {
    const button = $("all"), all = document.documentElement.classList.contains("all");
    button.hidden = status.refusals.length <= FEW;
    button.setAttribute("aria-expanded", String(all));
    write(button, all ? say("show_few") : say("show_all", { count: status.refusals.length }));
  }
  function refusal(one) {
    const why = element("td", { role: "cell" },
      element("span", { class: "why" }, element("b", {}, one.reason), " ",
        element("span", { class: "quiet" }, `OGW-${one.event}${one.enforced ? "" : `, ${say("let_pass")}`}`)),
      " ", element("span", {}, one.detail));
    if (one.command) {
      const code = element("code", {}, one.command);
      const about = { type: "button", "aria-label": say("copy_it", { command: one.command }) };
      const button = element("button", about, say("copy"));
      button.addEventListener("click", () => copy(code, button));
      why.append(" ", element("span", { class: "command" }, code, " ", button));
    }
    return [
      element("td", { role: "cell" }, element("time", { datetime: one.last, title: one.last }), " ",
        element("span", { class: "quiet" }, clock(one.last)), " ",
        ...(one.count > 1 ? [element("span", { class: "quiet" }, say("times", { count: count(one.count) }))] : [])),
      element("td", { role: "cell" }, element("b", {}, one.target || say("no_target")), " ",
        element("span", { class: "quiet" }, say("from", { client: one.client_subject ? `${one.client} (${one.client_subject})` : one.client }))),
      why];
  }
  async function copy(code, button) {
    let done = false;
    try {
      await navigator.clipboard.writeText(code.textContent);
      done = true;
    } catch { // not over http:// from afar, nor in old browsers: the older way, and else it is left selected
      getSelection().selectAllChildren(code);
      done = document.execCommand("copy");
      if (done) getSelection().removeAllRanges();
    }
    const told = say(done ? "copied" : "selected");
    write($("said"), told);
    write(button, told);
    setTimeout(() => { write(button, say("copy")); write($("said"), ""); }, 2000);
  }

  // Plots.

  const PLOTS = {
    tunnels: { series: [["tunnels", (at) => points[at][1]]], tell: count, least: 5 },
    opened: { series: [["opened", (at) => speed(at, 2)]], tell: rate, unit: "a_second", least: 1 },
    bytes: {
      series: [["up", (at) => speed(at, 4)], ["down", (at) => speed(at, 5)]], tell: size, unit: "a_second", bytes: true,
    },
    refused: { series: [["refused", (at) => speed(at, 3) * 60]], tell: rate, unit: "a_minute", least: 1 },
  };
  const WIDTH = 600, HEIGHT = 100;
  function ceiling(most, plot) { // a round number above
    if (plot.bytes) { let top = 1024; while (top < most) top *= 2; return top; }
    const least = Math.max(most, plot.least), power = 10 ** Math.floor(Math.log10(least));
    return [1, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= least * 0.999) * power;
  }
  function plots() {
    const end = status.uptime, begin = Math.max(points[0][0], end - SPAN), wide = Math.max(60, end - begin);
    for (const [name, plot] of Object.entries(PLOTS)) {
      const box = document.querySelector(`[data-plot="${name}"]`);
      if (!plot.svg) prepare(box, plot);
      const lines = plot.series.map(([, value]) => points.map((_, at) => value(at)));
      const most = Math.max(...lines.flat()), top = ceiling(most, plot);
      const x = (at) => ((points[at][0] - end + wide) / wide) * WIDTH, y = (value) => HEIGHT - (value / top) * HEIGHT;
      plot.paths.forEach(([line, under], number) => {
        const places = lines[number].map((value, at) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`);
        const path = `M${places.join("L")}`;
        line.setAttribute("d", path);
        under.setAttribute("d", `${path}L${WIDTH} ${HEIGHT}L${x(0).toFixed(1)} ${HEIGHT}Z`);
      });
      const unit = plot.unit ? ` ${say(plot.unit)}` : "";
      plot.told = (at) => lines.map((line, number) => {
        const which = plot.series.length > 1 ? `${say(`direction_${plot.series[number][0]}`)} ` : "";
        return which + plot.tell(line[at]) + unit;
      }).join(", ");
      plot.nearest = (share) => {
        const away = (at) => Math.abs(x(at) - share * WIDTH);
        const best = points.reduce((found, _, at) => (away(at) < away(found) ? at : found), 0);
        return [best, x(best)];
      };
      if (!plot.pointed) write(plot.top, plot.tell(top) + unit);
      write(plot.span, say("ago", { time: span(wide) }));
      plot.svg.setAttribute("aria-label", say("plot", {
        name: box.parentNode.querySelector("h2").textContent, time: span(wide), now: plot.told(points.length - 1),
        most: plot.tell(most) + unit }));
    }
  }
  function prepare(box, plot) {
    plot.svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    for (const y of [0, HEIGHT / 2, HEIGHT]) plot.svg.append(drawn("line", { x1: 0, x2: WIDTH, y1: y, y2: y }));
    plot.paths = plot.series.map(([name]) => {
      const group = drawn("g", { class: name }), under = drawn("path", { class: "under" }), line = drawn("path", {});
      group.append(under, line);
      plot.svg.append(group);
      return [line, under];
    });
    const mark = drawn("line", { class: "at", y1: 0, y2: HEIGHT, visibility: "hidden" });
    plot.svg.append(mark);
    plot.top = element("span", { class: "top", "aria-hidden": "true" });
    plot.span = element("span", { class: "span", "aria-hidden": "true" });
    box.append(plot.top, plot.svg, plot.span, element("span", { class: "end", "aria-hidden": "true" }, say("now")));
    plot.svg.addEventListener("pointermove", (event) => {
      const area = plot.svg.getBoundingClientRect(), [at, x] = plot.nearest((event.clientX - area.left) / area.width);
      plot.pointed = true;
      mark.setAttribute("x1", x);
      mark.setAttribute("x2", x);
      mark.setAttribute("visibility", "visible");
      const then = status.uptime - points[at][0];
      write(plot.top, `${then < 1 ? say("now") : say("ago", { time: span(then) })}: ${plot.told(at)}`);
    });
    plot.svg.addEventListener("pointerleave", () => {
      plot.pointed = false;
      mark.setAttribute("visibility", "hidden");
      plots();
    });
  }

  // Asking.

  async function asked(path) {
    const answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  }
  async function askForTunnels() {
    const text = $("filtered").value.trim();
    const fresh = await asked(`tunnels?most=${OPEN}&text=${encodeURIComponent(text)}`);
    if (text !== $("filtered").value.trim()) return; // somebody types, and is answered next
    tunnels = fresh;
    openTunnels();
  }
  async function poll() {
    if (asking) return;
    asking = true;
    clearTimeout(timer);
    try {
      const fresh = await asked(`status?language=${document.documentElement.lang.replace("-", "_")}`);
      if (fresh.version !== start.status.version) { location.reload(); return; } // a newer gateway has a newer page
      lost = false;
      take(fresh);
      show();
      await askForTunnels().catch(() => {}); // too many may ask: that says nothing against the gateway
    } catch {
      lost = true;
      state();
    }
    asking = false;
    if (!paused && !document.hidden) timer = setTimeout(poll, POLL);
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused) poll(); });
  $("pause").addEventListener("click", () => {
    paused = !paused;
    write($("pause"), say(paused ? "go_on" : "pause"));
    $("pause").classList.toggle("on", paused);
    $("filtered").disabled = paused;
    state();
    if (paused) clearTimeout(timer); else poll();
  });
  $("filtered").addEventListener("input", () => askForTunnels().catch(() => {})); // the next poll tells what is wrong
  $("all").addEventListener("click", () => {
    document.documentElement.classList.toggle("all");
    more();
  });
  $("pause").hidden = $("filter").hidden = false;
  $("still").hidden = true;
  document.documentElement.classList.add("live");
  take(status);
  show();
  openTunnels();
  timer = setTimeout(poll, POLL);
})();
