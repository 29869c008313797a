"use strict";
(() => {
  // charts: drawn when they come near, drawn anew when the theme changes
  const all = (selector) => [...document.querySelectorAll(selector)];
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
  addEventListener("themechange", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  const PAPER = 680, HALF = 325; // px, as wide as the paper
  addEventListener("beforeprint", () => charts.forEach((element) => draw(element, element.closest(".grid") ? HALF : PAPER)));
  addEventListener("afterprint", redraw);
})();
