"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  all("button[hidden]").forEach((button) => { button.hidden = false; });

  // ---- theme: follows the system until the reader chooses
  const themeButton = document.getElementById("theme");
  const themes = ["system", "light", "dark"];
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const store = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* a private window */ } };
  let theme = themes.includes(stored()) ? stored() : "system";
  const showTheme = () => {
    if (theme === "system") delete root.dataset.theme; else root.dataset.theme = theme;
    themeButton.textContent = `Theme: ${theme}`;
  };
  showTheme();

  // ---- charts: drawn when they come near, drawn anew when the theme changes
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const colour = (value) => { probe.style.color = value; return getComputedStyle(probe).color; };
  const resolved = (node) => {
    if (typeof node === "string") return /^var\(--[\w-]+\)$/.test(node) ? colour(node) : node;
    if (Array.isArray(node)) return node.map(resolved);
    if (node && typeof node === "object") {
      return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, resolved(value)]));
    }
    return node;
  };
  const startPlotly = () => {
    if (window.Plotly) return;
    const script = document.createElement("script");
    script.textContent = document.getElementById("plotly").textContent;
    document.body.append(script); // an inline script runs before append returns
  };
  const drawn = new Set();
  const draw = (element, width) => {
    startPlotly();
    const figure = resolved(JSON.parse(document.getElementById(element.dataset.chart).textContent));
    const size = width ? { width, autosize: false } : { autosize: true };
    if (!width && element.clientWidth < 520 && figure.data[0].type === "sankey") figure.layout.font.size = 11;
    drawn.add(element);
    return Plotly.react(element, figure.data, { ...figure.layout, ...size, height: element.clientHeight || undefined },
      { responsive: true, displayModeBar: false });
  };
  const charts = all("[data-chart]");
  const waiting = [];
  const drawNext = () => {
    const element = waiting.shift();
    if (element && !drawn.has(element)) draw(element);
    if (waiting.length) setTimeout(drawNext); // one at a time: the page stays responsive in between
  };
  const watcher = new IntersectionObserver((entries) => {
    const near = entries.filter((entry) => entry.isIntersecting && !drawn.has(entry.target));
    if (near.length && !waiting.length) setTimeout(drawNext);
    waiting.push(...near.map((entry) => entry.target));
  }, { rootMargin: "600px" });
  // the page is painted and usable first; charts follow
  addEventListener("load", () => setTimeout(() => charts.forEach((element) => watcher.observe(element))));
  const redraw = () => drawn.forEach((element) => draw(element));
  themeButton.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    store(theme);
    showTheme();
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // ---- print: light, everything unfolded, charts as wide as the paper
  const PAPER = 680, HALF = 325;
  let folded = [];
  addEventListener("beforeprint", () => {
    root.dataset.theme = "light";
    folded = all("details:not([open]):not(.bulky)");
    folded.forEach((details) => { details.open = true; });
    charts.forEach((element) => draw(element, element.closest(".grid") ? HALF : PAPER));
  });
  addEventListener("afterprint", () => {
    folded.forEach((details) => { details.open = false; });
    showTheme();
    redraw();
  });

  // ---- folding, and links to what is folded
  all("[data-fold]").forEach((button) => button.addEventListener("click", () => {
    all("details.section, details.sub").forEach((details) => { details.open = button.dataset.fold === "open"; });
  }));
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();

  // ---- tables: sort by a click on a heading, download as CSV
  const plain = (cell) => cell.dataset.value ?? cell.textContent.trim();
  const collator = new Intl.Collator(undefined, { numeric: true });
  const sort = (table, place, descending) => {
    const body = table.tBodies[0];
    const rows = all("tr:not(.total)", body);
    const numeric = rows.every((row) => row.cells[place].dataset.value !== undefined);
    rows.sort((a, b) => {
      const [x, y] = [plain(a.cells[place]), plain(b.cells[place])];
      return (descending ? -1 : 1) * (numeric ? Number(x) - Number(y) : collator.compare(x, y));
    });
    body.append(...rows, ...all("tr.total", body));
  };
  all("table").forEach((table) => all("thead th", table).forEach((heading, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const first = heading.matches(".count, .share, .number, .decimal") ? "descending" : "ascending";
      const other = first === "descending" ? "ascending" : "descending";
      const next = heading.getAttribute("aria-sort") === first ? other : first;
      all("thead th", table).forEach((each) => each.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", next);
      sort(table, place, next === "descending");
    });
  }));
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  all("[data-csv]").forEach((button) => button.addEventListener("click", () => {
    const rows = all("tr", document.getElementById(button.dataset.csv));
    const text = rows.map((row) => [...row.cells].map((cell) => quoted(plain(cell))).join(",")).join("\r\n") + "\r\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv" }));
    link.download = `${button.dataset.csv}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }));
})();
