// The script of every page: theme, charts, sorted tables, and what a served page adds: choices without a reload,
// and changes of a live run. Without it a page still reads, prints and navigates. What the reader has chosen is in
// the address.
"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // ---- theme: the system's, or what the reader has chosen -------------------------------------------------

  let stored = null;
  try { stored = localStorage.getItem("milepost-theme"); } catch { /* a file may have no storage */ }
  const asked = new URLSearchParams(location.search).get("theme") || stored;
  const theme = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  if (asked === "dark" || asked === "light") root.dataset.theme = asked;

  function switchTheme() {
    root.dataset.theme = theme() === "dark" ? "light" : "dark";
    try { localStorage.setItem("milepost-theme", root.dataset.theme); } catch { /* then only for this page */ }
    drawAgain();
  }
  dark.addEventListener("change", () => drawAgain());

  // ---- state in the address -------------------------------------------------------------------------------

  const read = (name) => new URLSearchParams(location.search).get(name);

  function remember(changes) {
    const address = new URL(location);
    for (const [name, value] of Object.entries(changes)) {
      if (value === null) address.searchParams.delete(name);
      else address.searchParams.set(name, value);
    }
    history.replaceState(history.state, "", address);
  }

  const say = (text) => { document.getElementById("said").textContent = text; };

  // ---- charts ---------------------------------------------------------------------------------------------

  const views = new Map(); // figure: what vega-embed returned
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting || "drawn" in entry.target.dataset) continue;
      seen.unobserve(entry.target);
      entry.target.dataset.drawn = "";
      draw(entry.target);
    }
  }, { rootMargin: "300px" });

  const specOf = (figure) => JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
  const papers = () => JSON.parse(document.getElementById("paper").textContent);
  const scheme = () => (theme() === "dark" && !matchMedia("print").matches ? "dark" : "light");

  // Colours that are made for light paper have lighter twins; data are left as they are.
  function recoloured(value, swaps) {
    if (typeof value === "string") return swaps[value] ?? value;
    if (Array.isArray(value)) return value.map((each) => recoloured(each, swaps));
    if (!value || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, ["datasets", "data", "domain"].includes(key) ? each : recoloured(each, swaps)]));
  }
  const number = (name) => { const text = read(name); return text === null || isNaN(text) ? null : Number(text); };

  const textScale = () => parseFloat(getComputedStyle(root).fontSize) / 16; // above 1 on a large screen

  function paper() {
    const config = papers()[scheme()];
    const scale = textScale();
    const grown = (value, key) => typeof value === "number" && /fontSize$/i.test(key) ? value * scale
      : value && typeof value === "object" && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, grown(v, k)])) : value;
    return grown(config, "");
  }

  async function draw(figure) {
    const plot = figure.querySelector(".plot");
    const spec = scheme() === "dark" ? recoloured(specOf(figure), papers().swaps) : specOf(figure);
    const label = plot.getAttribute("aria-label");
    const has = (name) => (spec.params || []).some((param) => param.name === name);
    for (const param of spec.params || []) {
      if (param.name === "pin") param.value = number("pin");
      if (param.name === "from" && number("from") !== null) param.value = number("from");
      if (param.name === "to" && number("to") !== null) param.value = number("to");
    }
    if (spec.width === "container" && typeof spec.height === "number") spec.height *= Math.max(1, textScale());
    plot.classList.toggle("wider", spec.width !== "container");
    plot.style.minHeight = `${plot.offsetHeight}px`; // what stands below does not move while it is drawn again
    try {
      const drawn = await vegaEmbed(plot, spec, {
        mode: "vega-lite", config: paper(), renderer: "svg", actions: false, ast: true, defaultStyle: false, logLevel: 1,
        tooltip: { disableDefaultStyle: true, theme: "page" },
      });
      nameAgain(plot, label);
      views.get(figure)?.finalize();
      views.set(figure, drawn);
      if (has("pin")) drawn.view.addEventListener("click", (_, item) => {
        const step = item?.datum?.step ?? item?.datum?.datum?.step;
        if (step !== undefined) pin(step === number("pin") ? null : step);
      });
      if (has("brush")) zoomBy(drawn.view, plot);
      figure.querySelector(".save").hidden = false;
    } catch (error) {
      plot.textContent = String(error);
    }
    plot.style.minHeight = "";
  }

  // Vega gives the plot a role and a name of its own, and each mark a role: to a screen reader it is one picture.
  function nameAgain(plot, label) {
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", label);
    plot.removeAttribute("aria-roledescription");
    plot.querySelector("svg")?.setAttribute("aria-hidden", "true");
  }

  const drawAgain = () => { for (const figure of views.keys()) draw(figure); };

  function signalAll(values) {
    for (const { view } of views.values()) {
      for (const [name, value] of Object.entries(values)) try { view.signal(name, value); } catch { /* not in it */ }
      view.runAsync();
    }
  }

  function pin(step) {
    remember({ pin: step });
    signalAll({ pin: step });
    markPinned();
  }

  function markPinned() {
    const step = read("pin");
    for (const row of all("tbody tr")) row.classList.toggle("pinned", step !== null && row.cells[0].textContent === step);
  }

  // Drag from side to side to see a part of the steps, twice a click to see them all.
  function zoomBy(view, plot) {
    let range = null;
    view.addSignalListener("brush", (_, value) => { range = value?.step ?? null; });
    plot.addEventListener("pointerup", () => setTimeout(() => {
      if (range === null || !(range[1] > range[0])) return;
      zoom(range[0], range[1]);
      clearBrush(view);
    }));
    plot.addEventListener("dblclick", () => zoom(null, null));
  }

  function clearBrush(view) {
    try { view.data("brush_store", []); view.runAsync(); } catch { /* the next drag replaces it */ }
  }

  function zoom(from, to) {
    const rounded = (value) => value === null ? null : Number(value.toPrecision(6));
    remember({ from: rounded(from), to: rounded(to) });
    drawAgain();
  }

  // Arrows go from checkpoint to checkpoint, 0 shows all steps again, Escape lets go.
  function keyOnPlot(event) {
    const figure = event.target.closest(".chart");
    if (!event.target.classList.contains("plot") || !views.has(figure)) return;
    if (event.key === "Escape") return pin(null);
    if (event.key === "0") return zoom(null, null);
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!by) return;
    event.preventDefault();
    const rows = records(figure).filter((row) => row.step != null && row.value != null);
    const steps = [...new Set(rows.map((row) => row.step))].sort((a, b) => a - b);
    if (!steps.length) return readRow(figure, by);
    const now = steps.indexOf(number("pin"));
    const next = Math.min(steps.length - 1, Math.max(0, now < 0 ? (by > 0 && by < Infinity ? 0 : steps.length - 1) : now + by));
    pin(steps[next]);
    say(rows.filter((row) => row.step === steps[next]).map((row) => `${row.series}, ${row.checkpoint}: ${row.value_text}`).join("; "));
  }

  // Of a chart without steps, arrows read the rows of the table behind it, one after the other.
  function readRow(figure, by) {
    const rows = all(".behind tbody tr", figure);
    if (!rows.length) return;
    const now = rows.findIndex((row) => row.classList.contains("pinned"));
    const next = Math.min(rows.length - 1, Math.max(0, now < 0 ? (by > 0 && by < Infinity ? 0 : rows.length - 1) : now + by));
    rows.forEach((row, place) => row.classList.toggle("pinned", place === next));
    const names = all(".behind thead th", figure).map((head) => head.textContent.trim());
    say([...rows[next].cells].map((cell, place) => `${names[place]}: ${cell.textContent.trim()}`).join("; "));
  }

  const records = (figure) => Object.values(specOf(figure).datasets || {}).reduce((most, rows) => (rows.length > most.length ? rows : most), []);

  // ---- saved: PNG, SVG and CSV of what is seen ------------------------------------------------------------

  async function save(button) {
    const figure = button.closest(".chart");
    const kind = button.dataset.save;
    const name = `${(figure.querySelector(".plot").getAttribute("aria-label") || "chart").replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60)}.${kind}`;
    if (kind === "csv") return download(name, new Blob([csv(figure)], { type: "text/csv" }));
    const { view } = views.get(figure);
    if (kind === "svg") return download(name, new Blob([await view.toSVG()], { type: "image/svg+xml" }));
    const canvas = await view.toCanvas(2);
    const whole = document.createElement("canvas");
    [whole.width, whole.height] = [canvas.width, canvas.height];
    const drawing = whole.getContext("2d");
    drawing.fillStyle = getComputedStyle(figure).backgroundColor;
    drawing.fillRect(0, 0, whole.width, whole.height);
    drawing.drawImage(canvas, 0, 0);
    whole.toBlob((blob) => download(name, blob));
  }

  function csv(figure) {
    const [from, to] = [number("from"), number("to")];
    const hidden = new Set(["alone", "best", "value_text"]);
    const rows = records(figure).filter((row) => row.step == null || ((from === null || row.step >= from) && (to === null || row.step <= to)));
    const names = Object.keys(rows[0] || {}).filter((name) => !hidden.has(name));
    const cell = (value) => { const text = String(value ?? ""); return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text; };
    return [names, ...rows.map((row) => names.map((name) => row[name]))].map((line) => line.map(cell).join(",")).join("\n") + "\n";
  }

  function download(name, blob) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // ---- tables that sort -----------------------------------------------------------------------------------

  const value = (text) => {
    const found = text.replaceAll(",", "").replaceAll("−", "-").match(/[+-]?\d+(\.\d+)?(e[+-]?\d+)?/i);
    return found && /^[^\p{L}]{0,3}[+-]?\d/u.test(text.replaceAll("−", "-").trim()) ? Number(found[0]) : null;
  };

  function sortable(table) {
    if (table.tBodies.length !== 1 || table.tBodies[0].rows.length < 2) return;
    for (const head of all("thead th", table)) {
      if (head.querySelector("button") || !head.textContent.trim()) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
    }
  }

  function sort(table, place, direction) {
    const body = table.tBodies[0];
    const key = (row) => row.cells[place]?.textContent.trim() ?? "";
    const order = (a, b) => {
      const [x, y] = [value(key(a)), value(key(b))];
      if (x !== null && y !== null) return x - y;
      return (x === null) - (y === null) || key(a).localeCompare(key(b), undefined, { numeric: true });
    };
    body.append(...[...body.rows].sort((a, b) => (direction === "ascending" ? order(a, b) : order(b, a))));
    for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
    table.tHead.rows[0].cells[place].setAttribute("aria-sort", direction);
  }

  function sortBy(head) {
    const table = head.closest("table");
    const direction = head.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
    sort(table, head.cellIndex, direction);
    remember({ sort: `${all("table").indexOf(table)}.${head.cellIndex}.${direction}` });
  }

  function sortAsAsked() {
    const [table, place, direction] = (read("sort") || "").split(".");
    const found = all("table")[table];
    if (found?.tHead?.rows[0].cells[place] && /^(a|de)scending$/.test(direction)) sort(found, Number(place), direction);
  }

  // ---- a served page: choices and changes without a reload -------------------------------------------------

  let asking = null; // the way to end what is being fetched
  let newest = null; // number of records that are newer than those of the page

  async function go(address, { push = true } = {}) {
    asking?.abort();
    const own = asking = new AbortController();
    try {
      const answer = await fetch(address, { signal: own.signal, headers: { accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (push) history.pushState(null, "", address);
      document.title = fresh.title;
      document.body.dataset.records = fresh.body.dataset.records;
      document.querySelector(".top nav")?.replaceWith(...all(".top nav", fresh));
      keepPlace(() => become(document.querySelector("main"), fresh.querySelector("main")));
      ready();
    } catch (error) {
      if (error.name !== "AbortError") lost(true);
    }
    if (asking === own) { asking = null; catchUp(); }
  }

  // Fetch the page anew once its records are old, but not while what the reader has chosen is on its way.
  function catchUp() {
    if (newest === null || asking) return;
    const isOld = newest !== document.body.dataset.records;
    newest = null;
    if (isOld) go(location.href, { push: false });
  }

  // Make an element like its fresh copy; what has not changed stays, with its charts and what is open in it.
  function become(old, fresh) {
    const blocks = [...fresh.children];
    const there = [...old.children];
    const same = new Map(there.filter((one) => one.dataset.v).map((one) => [one.dataset.v, one]));
    blocks.forEach((block, place) => {
      const now = old.children[place];
      const kept = same.get(block.dataset.v);
      if (kept) { if (kept !== now) old.insertBefore(kept, now || null); same.delete(block.dataset.v); return; }
      if (now && block.dataset.v && now.dataset.v && nest(now) && nest(block)) {
        become(nest(now), nest(block));
        now.dataset.v = block.dataset.v;
        return;
      }
      const copy = document.importNode(block, true);
      if (now && !(now.dataset.v && same.has(now.dataset.v) && blocks.some((one) => one.dataset.v === now.dataset.v))) {
        carry(now, copy);
        same.delete(now.dataset.v);
        now.replaceWith(copy);
      } else old.insertBefore(copy, now || null);
    });
    while (old.children.length > blocks.length) old.lastElementChild.remove();
    for (const figure of views.keys()) if (!figure.isConnected) { views.get(figure).finalize(); views.delete(figure); }
  }

  const nest = (block) => block.children.length === 1 && block.firstElementChild.matches(".nest, section") ? block.firstElementChild : null;

  // Take over what the reader has opened, and the drawing until the new one is there.
  function carry(old, copy) {
    const opened = new Set(all("details[open] > summary", old).map((summary) => summary.firstChild?.textContent));
    for (const summary of all("details > summary", copy)) if (opened.has(summary.firstChild?.textContent)) summary.parentNode.open = true;
    const plots = all(".plot", old);
    all(".plot", copy).forEach((plot, i) => { if (plots[i]) { plot.append(...plots[i].childNodes); plot.style.minHeight = `${plots[i].offsetHeight}px`; } });
    if (!matchMedia("print").matches) copy.classList.add("fresh");
  }

  // Change the page, and leave scroll, focus and selection where they were.
  function keepPlace(change) {
    const anchor = all("main .block").find((block) => block.getBoundingClientRect().bottom > 60);
    const before = anchor?.getBoundingClientRect().top;
    const focused = document.activeElement;
    const held = focused?.closest("main") ? focused.getBoundingClientRect().top : -1;
    const way = focused && focused !== document.body ? wayTo(focused) : null;
    const range = focused?.matches?.("input[type=search]") ? [focused.selectionStart, focused.selectionEnd, focused.value] : null;
    change();
    if (anchor?.isConnected && scrollY > 0) scrollBy(0, anchor.getBoundingClientRect().top - before);
    const again = way && (focused.isConnected ? focused : document.querySelector(way));
    if (again && held >= 0 && held < innerHeight) scrollBy(0, again.getBoundingClientRect().top - held);
    if (way && !focused.isConnected) {
      again?.focus({ preventScroll: true });
      if (range && again) { again.value = range[2]; again.setSelectionRange(range[0], range[1]); }
    }
  }

  function wayTo(element) {
    if (element.id) return `#${CSS.escape(element.id)}`;
    if (element.name) return `[name="${CSS.escape(element.name)}"]${element.type === "checkbox" || element.type === "radio" ? `[value="${CSS.escape(element.value)}"]` : ""}`;
    const href = element.getAttribute("href"); // a list may be in another order by then
    if (href) return `main a[href="${CSS.escape(href)}"]`;
    const parts = [];
    for (let one = element; one && one !== document.body; one = one.parentElement) {
      parts.unshift(`${one.localName}:nth-child(${[...one.parentElement.children].indexOf(one) + 1})`);
    }
    return parts.length ? `body > ${parts.join(" > ")}` : null;
  }

  function choose(form) {
    const address = new URL(form.action || location);
    const state = new URLSearchParams(location.search);
    const given = new URLSearchParams(new FormData(form));
    const own = new Set([...form.elements].map((element) => element.name));
    for (const [name, value] of state) if (!own.has(name) && !["page", "from", "to", "sort"].includes(name)) given.append(name, value);
    for (const [name, value] of [...given]) if (value === "") given.delete(name);
    address.search = given;
    go(address);
  }

  function lost(is) {
    const live = document.querySelector(".live");
    if (!live) return;
    live.classList.toggle("lost", is);
    live.textContent = is ? live.dataset.lost : live.dataset.live;
  }

  // An event says the number of the newest records, and how far the run is as HTML.
  function listen(address) {
    const events = new EventSource(address);
    events.addEventListener("open", () => lost(false));
    events.addEventListener("error", () => lost(true));
    events.addEventListener("message", (message) => {
      const { records, progress } = JSON.parse(message.data);
      const strip = document.getElementById("progress");
      if (strip.innerHTML !== progress) strip.innerHTML = progress;
      newest = String(records);
      catchUp();
    });
    addEventListener("pagehide", () => events.close());
  }

  // ---- begin ----------------------------------------------------------------------------------------------

  // Charts are drawn when they come near; the others when there is time, so that they are printed as well.
  function drawLater() {
    const next = all(".chart").find((figure) => !views.has(figure) && !("drawn" in figure.dataset));
    if (next) { next.dataset.drawn = ""; seen.unobserve(next); draw(next).then(() => whenIdle(drawLater)); }
  }

  const whenIdle = window.requestIdleCallback || ((act) => setTimeout(act, 50));

  // On a phone the menu is wider than the screen: the page's own name is in view.
  function showPlace() {
    const here = document.querySelector(".top nav [aria-current]");
    if (!here) return;
    const menu = here.parentNode;
    menu.scrollLeft = here.offsetLeft - menu.offsetLeft - (menu.clientWidth - here.offsetWidth) / 2;
  }

  function ready() {
    showPlace();
    for (const figure of all(".chart")) if (!views.has(figure)) seen.observe(figure);
    whenIdle(drawLater);
    all("table").forEach(sortable);
    sortAsAsked();
    markPinned();
    for (const form of all("form.controls")) form.classList.add("alive");
    for (const area of all(".wide, blockquote")) {
      if (area.clientWidth && area.scrollWidth <= area.clientWidth && area.scrollHeight <= area.clientHeight) {
        for (const name of ["tabindex", "role", "aria-label"]) area.removeAttribute(name);
      }
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    const events = document.body.dataset.events;
    ready();
    let typing = null;
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button?.matches(".theme")) switchTheme();
      else if (button?.dataset.save) save(button);
      else if (button?.parentNode.matches("thead th")) sortBy(button.parentNode);
      for (const open of all("details.several[open]")) if (!open.contains(event.target)) open.open = false;
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") for (const open of all("details.several[open]")) { open.open = false; open.firstElementChild.focus(); }
      keyOnPlot(event);
    });
    document.addEventListener("submit", (event) => { if (event.target.matches("form.controls")) { event.preventDefault(); choose(event.target); } });
    document.addEventListener("input", (event) => {
      const form = event.target.closest("form.controls");
      if (!form) return;
      clearTimeout(typing);
      if (event.target.type === "search") typing = setTimeout(() => choose(form), 350);
      else choose(form);
    });
    addEventListener("popstate", () => { if (events) go(location.href, { push: false }); });
    let [width, resizing] = [innerWidth, null];
    addEventListener("resize", () => {
      clearTimeout(resizing);
      resizing = setTimeout(() => { if (innerWidth !== width) { width = innerWidth; drawAgain(); } }, 250);
    });
    let closed = [];
    addEventListener("beforeprint", () => { closed = all("details:not([open])"); for (const one of closed) one.open = true; });
    addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
    if (events) listen(events);
  });
})();
